//! Keys that are good for a while: a role of moto's, which verifies who asks for it and what is signed with its key.

use super::{noise, stores};
use crate::moto::Moto;
use formats::{Error, Kind, Silent};
use net::store::Wishes;
use std::fs;

const EVERYTHING: &str = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}"#;

/// A home whose profile `app` is the role `r`, assumed with this secret of moto's user.
fn home(moto: &Moto, secret: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join(".aws")).unwrap();
    let config = "[profile app]\nregion = us-east-1\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = user\n";
    fs::write(dir.path().join(".aws/config"), config).unwrap();
    let credentials = format!("[user]\naws_access_key_id = {}\naws_secret_access_key = {secret}\n", moto.id);
    fs::write(dir.path().join(".aws/credentials"), credentials).unwrap();
    dir
}

/// Sends and names a file as the profile `app`.
fn put(moto: &Moto, secret: &str) -> Result<(), Error> {
    let home = home(moto, secret);
    let home = home.path().to_str().unwrap();
    let (stores, _) = stores(&[("HOME", home), ("AWS_PROFILE", "app"), ("AWS_ENDPOINT_URL", &moto.url())], 0);
    let object = stores.at("s3://roles/x", Wishes::default()).unwrap().unwrap();
    object.send(&noise(1000, 1), None, &Silent).and_then(|()| object.commit(&Silent))
}

#[test]
fn a_role_is_assumed_and_its_key_opens_the_store() {
    let moto = Moto::start();
    moto.python("s3.create_bucket(Bucket='roles')");
    moto.python(&format!(
        "iam = client('iam')\niam.create_role(RoleName='r', AssumeRolePolicyDocument='{EVERYTHING}')\n\
         iam.put_role_policy(RoleName='r', PolicyName='p', PolicyDocument='{EVERYTHING}')"
    ));
    put(&moto, &moto.secret).unwrap();
    assert_eq!(moto.python("print([o['Size'] for o in s3.list_objects_v2(Bucket='roles')['Contents']])"), "[1000]");

    let wrong = put(&moto, "wrong").unwrap_err();
    assert!(wrong.to_string().contains("gives no credentials: 403 Forbidden: SignatureDoesNotMatch"), "{wrong}");
    assert!(wrong.kind() == Kind::Remote && wrong.to_string().starts_with("the profile 'app' of "), "{wrong}");
}
