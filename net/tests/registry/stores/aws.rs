//! Images of EC2, as moto has them: it verifies every signature, keeps blocks and snapshots, and of an image the name alone; what else is
//! registered is held against the model of Amazon's own library. Of requests to EBS that have no body it computes other signatures than that
//! library does, and so refuses our CompleteSnapshot where it is not unlocked; its snapshots are complete all the same, which we see.

use super::{
    between::{Between, Fate},
    noise, python, stores,
};
use crate::moto::Moto;
use formats::{Blob, Error, Kind, Silent, units};
use net::import::aws::{BootMode, Image, Import};
use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// One server for all tests, each of which has a region of its own.
fn moto() -> &'static Moto {
    static MOTO: OnceLock<Moto> = OnceLock::new();
    MOTO.get_or_init(Moto::start)
}

fn import(moto: &Moto, url: &str, secret: &str, region: &str) -> Arc<Import> {
    let key = [("AWS_ACCESS_KEY_ID", moto.id.as_str()), ("AWS_SECRET_ACCESS_KEY", secret), ("AWS_ENDPOINT_URL", url)];
    Arc::new(Import::new(stores(&key, 0).0, Some(region)).unwrap())
}

fn reached(url: &str, region: &str) -> Arc<Import> {
    import(moto(), url, &moto().secret, region)
}

fn image(name: &str) -> Image {
    Image {
        name: name.to_owned(),
        description: "a test & more".to_owned(),
        architecture: "x86_64",
        boot_mode: BootMode::Uefi,
        tpm: true,
        uefi_data: Some("QU1aT+/=".to_owned()),
        tags: vec![("team".to_owned(), "db".to_owned()), ("stage".to_owned(), "ü =".to_owned())],
    }
}

/// Sends a disk and registers it; leaves nothing where that fails.
fn push(import: &Import, disk: &Blob, image: &Image) -> Result<(String, String), Error> {
    let all = || {
        import.refuse_taken(image)?;
        let snapshot = import.send(disk, image, &Silent)?;
        Ok((snapshot, import.register(image)?))
    };
    all().inspect_err(|_| import.abandon().unwrap())
}

/// What moto says of a region, with clients of Amazon's own library.
fn asked(moto: &Moto, region: &str, lines: &str) -> String {
    moto.python(&format!(
        "ec2, ebs = [boto3.client(n, region_name='{region}', endpoint_url=s3.meta.endpoint_url, aws_access_key_id='{}', \
         aws_secret_access_key='{}') for n in ('ec2', 'ebs')]\n{lines}",
        moto.id, moto.secret
    ))
}

/// How many snapshots and images a region has that are ours. To every image moto adds a snapshot of its own.
fn kept(region: &str) -> String {
    kept_by(moto(), region)
}

fn kept_by(moto: &Moto, region: &str) -> String {
    asked(
        moto,
        region,
        "s = [s for s in ec2.describe_snapshots(OwnerIds=['self'])['Snapshots'] if not s.get('Description', '').startswith('Auto-created')]\n\
         print(len(s), len(ec2.describe_images(Owners=['self'])['Images']))",
    )
}

/// Some 1.5 GiB with data in the first, the second, the last but one and the last block, which is no whole one.
fn disk() -> Blob {
    let mut disk = noise(600 << 10, 1);
    disk.extend_to((3 << 29) - (700 << 10));
    disk.append(&noise((700 << 10) + 512, 2));
    disk
}

#[test]
fn a_disk_is_an_image() {
    let (moto, region) = (&Arc::new(Moto::start()), "eu-central-1");
    let unlocked = Arc::clone(moto);
    let between = Between::start(moto.port, move |_, line| {
        if line.contains("/completion/") {
            unlocked.unlock();
        }
        Fate::Passes
    });
    let import = import(moto, &between.url(), &moto.secret, region);
    // Zeros that a file really has are left out, too.
    let mut written = disk();
    written.replace(100 << 20, &Blob::bytes(vec![0; 1 << 20]));
    let (snapshot, image_id) = push(&import, &written, &image("app 1.0")).unwrap();
    assert!(image_id.starts_with("ami-"), "{image_id}");
    assert_eq!(kept_by(moto, region), "1 1");
    let blocks = asked(
        moto,
        region,
        &format!(
            "l = ebs.list_snapshot_blocks(SnapshotId='{snapshot}')\n\
             print(l['VolumeSize'])\n\
             for b in sorted(l['Blocks'], key=lambda b: b['BlockIndex']):\n  \
             d = ebs.get_snapshot_block(SnapshotId='{snapshot}', BlockIndex=b['BlockIndex'], BlockToken=b['BlockToken'])\n  \
             body = d['BlockData'].read()\n  \
             print(b['BlockIndex'], len(body), hashlib.sha256(body).hexdigest())"
        ),
    );
    let block = |number: u64| {
        let mut block = written.slice(number << 19..((number + 1) << 19).min(written.len()));
        block.extend_to(1 << 19);
        format!("{number} 524288 {}", units::hex(&block.sha256().unwrap()))
    };
    assert_eq!(blocks, format!("2\n{}\n{}\n{}\n{}\n{}", block(0), block(1), block(3070), block(3071), block(3072)));
    let described = asked(
        moto,
        region,
        &format!(
            "s = ec2.describe_snapshots(SnapshotIds=['{snapshot}'])['Snapshots'][0]\n\
             print(s['Description'], sorted((t['Key'], t['Value']) for t in s['Tags']))\n\
             print(ec2.describe_images(ImageIds=['{image_id}'])['Images'][0]['Name'])"
        ),
    );
    assert_eq!(described, "a test & more [('stage', 'ü ='), ('team', 'db')]\napp 1.0");
    judged_by_botocore(&between, &snapshot, &written);
    signed_as_by_botocore(&between, moto, region);
    // Nothing is left to abandon.
    import.abandon().unwrap();
    assert_eq!(kept_by(moto, region), "1 1");
}

/// Amazon's library signs what completes a snapshot as we do. It must be asked: moto refuses it, also from that library.
fn signed_as_by_botocore(between: &Between, moto: &Moto, region: &str) {
    let completions: Vec<_> = between.requests().into_iter().filter(|request| request.contains("/completion/")).collect();
    let [completion] = &completions[..] else { panic!("{completions:?}") };
    let said = python(&format!(
        "import botocore.auth, botocore.awsrequest, botocore.credentials, datetime\n\
         lines = {completion:?}.split('\\r\\n')\nmethod, path, _ = lines[0].split(' ')\n\
         sent = {{k.lower(): v for k, v in (l.split(': ', 1) for l in lines[1:] if ': ' in l)}}\n\
         names = sent['authorization'].split('SignedHeaders=')[1].split(',')[0].split(';')\n\
         headers = {{n: sent[n] for n in names if n not in ('host', 'x-amz-date')}}\n\
         now = datetime.datetime.strptime(sent['x-amz-date'], '%Y%m%dT%H%M%SZ')\n\
         botocore.auth.get_current_datetime = lambda *a, **k: now\n\
         r = botocore.awsrequest.AWSRequest(method=method, url='http://' + sent['host'] + path, headers=headers, data=b'')\n\
         botocore.auth.SigV4Auth(botocore.credentials.Credentials('{}', '{}'), 'ebs', '{region}').add_auth(r)\n\
         print(len(names), r.headers['Authorization'] == sent['authorization'])",
        moto.id, moto.secret
    ));
    assert_eq!(said, "6 True", "{completion}");
    let refused = asked(
        self::moto(),
        region,
        "i = ebs.start_snapshot(VolumeSize=1)['SnapshotId']\n\
         try: ebs.complete_snapshot(SnapshotId=i, ChangedBlocksCount=0)\n\
         except Exception as e: print('SignatureDoesNotMatch' in str(e))\n\
         ec2.delete_snapshot(SnapshotId=i)",
    );
    assert_eq!(refused, "True");
}

/// What we sent beside blocks, as Amazon's library understands it: no field that EC2 has not, and the checksum over the digests.
fn judged_by_botocore(between: &Between, snapshot: &str, disk: &Blob) {
    let forms: Vec<_> = between.requests().into_iter().filter(|request| request.contains("Action=RegisterImage")).collect();
    let [form] = &forms[..] else { panic!("{forms:?}") };
    let form = form.rsplit("\r\n").next().unwrap();
    let said = python(&format!(
        "import botocore.session, urllib.parse, re, json\n\
         m = botocore.session.get_session().get_service_model('ec2').operation_model('RegisterImage').input_shape\n\
         f = dict(urllib.parse.parse_qsl('{form}', strict_parsing=True)); assert f.pop('Action') == 'RegisterImage' and f.pop('Version') == '2016-11-15'\n\
         for k in sorted(f):\n  \
         s = m\n  \
         for part in k.split('.'):\n    \
         if s.type_name == 'list': assert part.isdigit(), k; s = s.member\n    \
         else:\n      \
         named = {{(lambda q: q[0].upper() + q[1:])(v.serialization.get('queryName') or v.serialization.get('name') or n): v for n, v in s.members.items()}}\n      \
         s = named[part]\n  \
         assert not getattr(s, 'enum', None) or f[k] in s.enum, (k, f[k], s.enum)\n  \
         assert s.type_name in ('string', 'boolean'), (k, s)\n  \
         print(k, f[k])"
    ));
    let wanted = format!(
        "Architecture x86_64\nBlockDeviceMapping.1.DeviceName /dev/xvda\nBlockDeviceMapping.1.Ebs.DeleteOnTermination true\n\
         BlockDeviceMapping.1.Ebs.SnapshotId {snapshot}\nBlockDeviceMapping.1.Ebs.VolumeType gp3\nBootMode uefi\n\
         Description a test & more\nEnaSupport true\nImdsSupport v2.0\nName app 1.0\nRootDeviceName /dev/xvda\n\
         TagSpecification.1.ResourceType image\nTagSpecification.1.Tag.1.Key team\nTagSpecification.1.Tag.1.Value db\n\
         TagSpecification.1.Tag.2.Key stage\nTagSpecification.1.Tag.2.Value ü =\nTpmSupport v2.0\nUefiData QU1aT+/=\n\
         VirtualizationType hvm"
    );
    assert_eq!(said, wanted);
    // It was taken at once: nothing was asked about it but whether it is done.
    assert_eq!(between.lines().iter().filter(|line| line.contains("/completion/")).count(), 1);
    let completion = between.requests().into_iter().find(|request| request.contains("/snapshots/completion/")).unwrap();
    let digests: Vec<String> = [0, 1, 3070, 3071, 3072_u64]
        .iter()
        .map(|number| {
            let mut block = disk.slice(number << 19..((number + 1) << 19).min(disk.len()));
            block.extend_to(1 << 19);
            units::hex(&block.sha256().unwrap())
        })
        .collect();
    let linear = python(&format!(
        "import hashlib, base64; print(base64.b64encode(hashlib.sha256(bytes.fromhex('{}')).digest()).decode())",
        digests.concat()
    ));
    let completion = completion.to_ascii_lowercase();
    assert!(completion.contains("x-amz-changedblockscount: 5\r\n") && completion.contains("x-amz-checksum-aggregation-method: linear\r\n"));
    assert!(completion.contains(&format!("x-amz-checksum: {}\r\n", linear.to_ascii_lowercase())), "{completion}");
}

#[test]
fn a_name_that_is_taken_is_refused_first() {
    let region = "eu-west-1";
    push(&reached(&moto().url(), region), &disk(), &image("taken")).unwrap();
    let between = Between::start(moto().port, |_, _| Fate::Passes);
    let error = push(&reached(&between.url(), region), &disk(), &image("taken")).unwrap_err();
    assert!(error.kind() == Kind::BadInput && error.to_string().contains("the name 'taken' is taken in eu-west-1 by ami-"), "{error}");
    assert_eq!((between.lines().len(), kept(region).as_str()), (1, "1 1"));
}

/// As EC2 says it, which moto does not.
const DUPLICATE: &str = "HTTP/1.1 400 Bad Request\r\nContent-Length: 149\r\nConnection: close\r\n\r\n<Response><Errors><Error><Code>InvalidAMIName.Duplicate</Code><Message>AMI name x is already in use</Message></Error></Errors><RequestID/></Response>";

#[test]
fn who_is_second_leaves_nothing() {
    let region = "eu-west-2";
    let is_last = AtomicUsize::new(0);
    // The first request looks for the name, the second begins the snapshot.
    let between = Between::start(moto().port, move |_, line| {
        let is_query = line.starts_with("POST / ");
        match is_query && is_last.fetch_add(1, Ordering::Relaxed) == 2 {
            true => Fate::Answered(DUPLICATE),
            false => Fate::Passes,
        }
    });
    let error = push(&reached(&between.url(), region), &disk(), &image("second")).unwrap_err();
    assert!(error.kind() == Kind::BadInput && error.to_string().contains("'second' is taken"), "{error}");
    assert_eq!(kept(region), "0 0");
}

#[test]
fn what_passes_is_tried_again() {
    const BUSY: &str = "HTTP/1.1 503 Slow Down\r\nRetry-After: 7\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    const THROTTLED: &str = "HTTP/1.1 400 Bad Request\r\nx-amzn-ErrorType: RequestThrottledException:http://x/\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    const LIMIT: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let region = "us-west-1";
    let between = Between::start(moto().port, |number, _| match number % 8 {
        1 => Fate::Answered(BUSY),
        3 => Fate::Answered(THROTTLED),
        5 => Fate::Reset,
        7 => Fate::Answered(LIMIT),
        _ => Fate::Passes,
    });
    push(&reached(&between.url(), region), &disk(), &image("again")).unwrap();
    assert_eq!(kept(region), "1 1");
}

#[test]
fn a_snapshot_is_begun_twice_under_one_token() {
    let region = "us-west-2";
    let once = AtomicBool::new(true);
    let between = Between::start(moto().port, move |_, line| {
        if line.starts_with("POST /snapshots ") && once.swap(false, Ordering::Relaxed) { Fate::AnswerLost } else { Fate::Passes }
    });
    push(&reached(&between.url(), region), &disk(), &image("lost")).unwrap();
    let requests = between.requests();
    let tokens: Vec<_> = requests.iter().filter_map(|request| request.split("\"ClientToken\":\"").nth(1)?.split('"').next()).collect();
    assert!(tokens.len() == 2 && tokens[0] == tokens[1] && tokens[0].len() == 64, "{tokens:?}");
}

#[test]
fn failures_have_words_and_leave_nothing() {
    let region = "eu-north-1";
    let error = push(&import(moto(), &moto().url(), "not-this-one", region), &disk(), &image("refused")).unwrap_err();
    assert!(error.kind() == Kind::Remote && error.hint_text().unwrap().contains("does not know these credentials"), "{error}");
    assert!(!format!("{error:?}").contains("not-this-one"), "{error:?}");

    const DENIED: &str = "HTTP/1.1 403 Forbidden\r\nx-amzn-ErrorType: AccessDeniedException\r\nContent-Length: 63\r\nConnection: close\r\n\r\n{\"Message\":\"User: u is not authorized \\u001b[1m\",\"Reason\":null}";
    let hinted = |error: &Error| error.hint_text().unwrap_or_default().contains("ebs:PutSnapshotBlock");
    let denied = Between::start(moto().port, |_, line| if line.contains("/blocks/3071") { Fate::Answered(DENIED) } else { Fate::Passes });
    let error = push(&reached(&denied.url(), region), &disk(), &image("refused")).unwrap_err();
    assert!(error.kind() == Kind::Remote && hinted(&error), "{error:?}");
    assert!(error.to_string().contains("User: u is not authorized \\u{1b}[1m"), "{error}");
    assert_eq!(kept(region), "0 0");
}

#[test]
fn what_is_abandoned_is_gone() {
    let region = "ap-south-1";
    let import = reached(&moto().url(), region);
    import.send(&disk(), &image("gone"), &Silent).unwrap();
    assert_eq!(kept(region), "1 0");
    import.abandon().unwrap();
    assert_eq!(kept(region), "0 0");
    assert!(import.register(&image("gone")).unwrap_err().to_string().contains("was abandoned"));
}

#[test]
fn a_snapshot_that_somebody_deletes_is_missed() {
    const GONE: &str = "HTTP/1.1 400 Bad Request\r\nContent-Length: 138\r\nConnection: close\r\n\r\n<Response><Errors><Error><Code>InvalidSnapshot.NotFound</Code><Message>The snapshot does not exist.</Message></Error></Errors></Response>\n";
    let queries = AtomicUsize::new(0);
    // It is not known at once, and then never again.
    let moto = Moto::start();
    moto.unlock();
    let between = Between::start(moto.port, move |_, line| {
        let is_gone = line.starts_with("POST / ") && queries.fetch_add(1, Ordering::Relaxed) > 0;
        if is_gone { Fate::Answered(GONE) } else { Fate::Passes }
    });
    let error = push(&import(&moto, &between.url(), &moto.secret, "sa-east-1"), &disk(), &image("gone")).unwrap_err();
    assert!(error.kind() == Kind::Remote && error.to_string().contains("is gone: somebody deleted it"), "{error}");
    assert!(between.lines().iter().filter(|line| line.starts_with("POST / ")).count() > 5);
}
