//! Keys, signatures and what is said of them: from `moby keys` to `moby lint --secure-boot`. That firmware agrees is in `boot::secure`.

use crate::support::{
    images::write_test_tar,
    scratch, text,
    tools::{Finished, finish, moby, run, tool},
};
use std::{fs, os::unix::fs::PermissionsExt, path::Path};

/// Runs our program in a directory.
fn moby_in(dir: &Path, arguments: &[&str]) -> Finished {
    finish(moby().current_dir(dir).args(arguments))
}

fn shell(dir: &Path, script: &str) {
    finish(tool("sh").current_dir(dir).args(["-ec", script])).success();
}

/// A directory with a unified kernel image, and RSA keys of these lengths as `openssl` makes them.
fn with_keys(name: &str, lengths: &[u32]) -> std::path::PathBuf {
    let dir = scratch(name);
    write_test_tar(&dir.join("guest.tar"), 1);
    moby_in(&dir, &["convert", "-q", "guest.tar", "-f", "uki"]).success();
    for bits in lengths {
        shell(
            &dir,
            &format!(
                "openssl req -x509 -newkey rsa:{bits} -nodes -keyout {bits}.key -out {bits}.crt -days 9999 -subj '/CN=key of {bits}' 2>/dev/null"
            ),
        );
    }
    dir
}

#[test]
fn a_key_signs_alike_in_every_form() {
    let dir = with_keys("signing-forms", &[2048, 3072, 4096]);
    let sign = |arguments: &[&str]| {
        let out = dir.join("out.efi");
        finish(
            moby().current_dir(&dir).env("MOBY_SIGN_PASSWORD", "sesame").args(["sign", "-q", "guest.efi", "-o", "out.efi"]).args(arguments),
        )
        .success();
        fs::read(out).unwrap()
    };
    for bits in ["2048", "3072", "4096"] {
        let (key, certificate) = (format!("{bits}.key"), format!("{bits}.crt"));
        let signed = sign(&["--sign-key", &key, "--sign-cert", &certificate]);
        run("sbverify", ["--cert", text(&dir.join(&certificate)), text(&dir.join("out.efi"))]);
        let verified = run("osslsigncode", ["verify", "-CAfile", text(&dir.join(&certificate)), "-in", text(&dir.join("out.efi"))]);
        assert!(verified.contains("Succeeded"), "{verified}");
        shell(
            &dir,
            &format!(
                "
            openssl rsa -in {key} -traditional -out pkcs1.pem 2>/dev/null
            openssl rsa -in {key} -traditional -outform DER -out pkcs1.der 2>/dev/null
            openssl pkcs8 -topk8 -nocrypt -in {key} -out pkcs8.pem
            openssl pkcs8 -topk8 -nocrypt -in {key} -outform DER -out pkcs8.der
            openssl pkcs8 -topk8 -passout pass:sesame -in {key} -out encrypted.pem
            openssl pkcs8 -topk8 -passout pass:sesame -in {key} -outform DER -out encrypted.der
            openssl x509 -in {certificate} -outform DER -out certificate.der"
            ),
        );
        for form in ["pkcs1.pem", "pkcs1.der", "pkcs8.pem", "pkcs8.der", "encrypted.pem", "encrypted.der"] {
            assert!(sign(&["--sign-key", form, "--sign-cert", "certificate.der"]) == signed, "{bits} {form}");
        }
        let command = format!("openssl pkeyutl -sign -inkey {key} -pkeyopt digest:sha256");
        assert!(sign(&["--sign-command", &command, "--sign-cert", &certificate]) == signed, "{bits} by a command");
        let command = format!("{command} | base64");
        assert!(sign(&["--sign-command", &command, "--sign-cert", &certificate]) == signed, "{bits} by a command that answers in base64");
        moby_in(&dir, &["sign", "-q", "guest.efi", "--sign-cert", &certificate, "--to-be-signed", "digest"]).success();
        shell(&dir, &format!("openssl pkeyutl -sign -inkey {key} -pkeyopt digest:sha256 -in digest -out signature"));
        assert!(sign(&["--signature", "signature", "--sign-cert", &certificate]) == signed, "{bits} in two steps");
    }
}

#[test]
fn what_cannot_sign_is_refused_in_words() {
    let dir = with_keys("signing-refused", &[2048]);
    shell(
        &dir,
        "
        openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec.key
        openssl req -x509 -key ec.key -out ec.crt -subj /CN=ec
        openssl genpkey -algorithm ED25519 -out ed.key
        openssl genrsa -out short.key 1024 2>/dev/null
        openssl req -x509 -key short.key -out short.crt -subj /CN=short
        openssl genrsa -out other.key 2048 2>/dev/null
        openssl pkcs8 -topk8 -passout pass:sesame -in 2048.key -out encrypted.pem
        echo wrong >wrong
        head -c 256 /dev/zero >zeros
        head -c 3000 guest.efi >cut.efi",
    );
    let cases: &[(&[&str], i32, &str)] = &[
        (&["--sign-key", "ec.key", "--sign-cert", "2048.crt"], 3, "ec.key: an EC key (P-256): firmware takes RSA of 2048 to 4096 bits"),
        (&["--sign-key", "2048.key", "--sign-cert", "ec.crt"], 3, "EC key (P-256)"),
        (&["--sign-key", "ed.key", "--sign-cert", "2048.crt"], 3, "ed.key: an Ed25519 key"),
        (&["--sign-key", "short.key", "--sign-cert", "short.crt"], 3, "1024 bits"),
        (&["--sign-key", "other.key", "--sign-cert", "2048.crt"], 2, "other.key with 2048.crt: is not the key of the certificate"),
        (&["--sign-key", "encrypted.pem", "--sign-cert", "2048.crt"], 2, "encrypted.pem: is encrypted"),
        (
            &["--sign-key", "encrypted.pem", "--sign-cert", "2048.crt", "--sign-password-file", "wrong"],
            2,
            "encrypted.pem: the password is wrong",
        ),
        (&["--sign-key", "2048.crt", "--sign-cert", "2048.crt"], 2, "2048.crt: is a certificate, must be a private key"),
        (&["--sign-key", "2048.key", "--sign-cert", "2048.key"], 2, "2048.key"),
        (&["--sign-key", "absent.key", "--sign-cert", "2048.crt"], 2, "absent.key"),
        (&["--sign-key", "2048.key"], 2, "--sign-cert"),
        (&["--sign-cert", "2048.crt"], 2, "--sign-cert needs a key"),
        (&["--sign-command", "echo no token >&2; exit 3", "--sign-cert", "2048.crt"], 4, "--sign-command: exit status: 3: no token"),
        (&["--sign-command", "sleep 60", "--sign-timeout", "1", "--sign-cert", "2048.crt"], 4, "did not end within 1 second"),
        (&["--sign-command", "echo short", "--sign-cert", "2048.crt"], 2, "wrote no signature of 256 bytes"),
        (
            &["--sign-command", "openssl pkeyutl -sign -inkey other.key -pkeyopt digest:sha256", "--sign-cert", "2048.crt"],
            2,
            "does not verify",
        ),
        (&["--signature", "zeros", "--sign-cert", "2048.crt"], 2, "does not verify"),
    ];
    for (arguments, code, words) in cases {
        for command in [&["sign", "-q", "guest.efi", "-o", "out"][..], &["convert", "-q", "guest.tar", "-f", "qcow2", "--name", "out"]] {
            if command[0] == "convert" && arguments[0] == "--signature" {
                continue;
            }
            let refused = moby_in(&dir, &[command, arguments].concat());
            assert_eq!(refused.code(), *code, "{refused}");
            assert!(refused.errors().contains(words), "{words}\n{refused}");
            assert!(!dir.join("out").exists() && !dir.join("out.qcow2").exists());
        }
    }
    let cut = moby_in(&dir, &["sign", "-q", "cut.efi", "--sign-key", "2048.key", "--sign-cert", "2048.crt"]);
    assert!(cut.code() == 2 && cut.errors().contains("cut.efi"), "{cut}");
    assert!(!dir.join("cut.signed.efi").exists());
}

/// Where a signature would cover nothing, or not all, there is none.
#[test]
fn what_a_signature_does_not_cover_is_not_signed() {
    let dir = scratch("signing-covered");
    write_test_tar(&dir.join("guest.tar"), 1);
    moby_in(&dir, &["keys", "-q", "keys"]).success();
    let convert = |arguments: &[&str]| {
        moby_in(&dir, &[&["convert", "-q", "guest.tar", "--secure-boot", "keys", "--name", "out"], arguments].concat())
    };
    let cases: &[(&[&str], &str)] = &[
        (&["-f", "raw-bios"], "--sign-key has no effect on raw-bios"),
        (&["-f", "raw", "--boot", "bios"], "--sign-key has no effect on raw"),
        (&["-f", "kernel+initrd"], "--sign-key has no effect on kernel+initrd"),
        (&["-f", "iso-efi"], "--sign-key has no effect on iso-efi"),
        (&["-f", "vagrant-libvirt"], "--sign-key has no effect on vagrant-libvirt"),
        (&["-f", "raw", "--root", "erofs"], "--root erofs with a signature needs --verity"),
    ];
    for (arguments, words) in cases {
        let refused = convert(arguments);
        assert!(refused.code() == 3 && refused.errors().contains(words), "{refused}");
    }
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 2, "nothing was made");
    convert(&["-f", "raw", "--root", "erofs", "--verity"]).success();
    let signed = moby_in(&dir, &["extract", "out.img", "cmdline"]).success().text();
    assert!(signed.contains(" 1 panic_on_corruption\""), "{signed}");
    moby_in(&dir, &["convert", "-q", "guest.tar", "-f", "raw", "--root", "erofs", "--verity", "--name", "unsigned"]).success();
    let unsigned = moby_in(&dir, &["extract", "unsigned.img", "cmdline"]).success().text();
    assert!(unsigned.contains("verity 1 ") && !unsigned.contains("panic_on_corruption"), "{unsigned}");
}

#[test]
fn keys_are_made_once_and_for_their_owner_alone() {
    let dir = scratch("signing-keys");
    moby_in(&dir, &["keys", "-q", "keys", "--name", "Ours", "--bits", "3072"]).success();
    let keys = dir.join("keys");
    for name in ["PK", "KEK", "db"] {
        let (key, certificate) = (keys.join(format!("{name}.key")), keys.join(format!("{name}.crt")));
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        let shown = run("openssl", ["x509", "-in", text(&certificate), "-noout", "-subject", "-text"]);
        assert!(shown.contains(&format!("Ours {name}")) && shown.contains("3072 bit"), "{shown}");
        run("openssl", ["verify", "-CAfile", text(&certificate), text(&certificate)]);
        let of = |what: &[&str]| run("openssl", what.iter().copied());
        assert_eq!(of(&["x509", "-in", text(&certificate), "-noout", "-pubkey"]), of(&["pkey", "-in", text(&key), "-pubout"]));
    }
    let before = fs::read(keys.join("db.key")).unwrap();
    let again = moby_in(&dir, &["keys", "-q", "keys"]);
    assert!(again.code() == 2 && again.errors().contains("PK.key: exists already"), "{again}");
    assert!(before == fs::read(keys.join("db.key")).unwrap());
}

/// The variables of a machine, by the programs that others make and read them with.
#[test]
fn variables_are_what_others_make_of_the_keys() {
    let dir = scratch("signing-variables");
    write_test_tar(&dir.join("guest.tar"), 1);
    moby_in(&dir, &["keys", "-q", "keys"]).success();
    let arguments =
        ["convert", "-q", "guest.tar", "-f", "raw", "--secure-boot", "keys", "--efi-vars", "auth,aws,gcp,azure,qemu", "--name", "out"];
    moby_in(&dir, &arguments).success();
    let owner = fs::read_to_string(dir.join("keys/GUID.txt")).unwrap();
    for name in ["PK", "KEK", "db"] {
        shell(
            &dir,
            &format!(
                "
            cert-to-efi-sig-list -g {} keys/{name}.crt {name}.esl
            cmp {name}.esl out-{name}.esl",
                owner.trim()
            ),
        );
        let signer = if name == "db" { "KEK" } else { "PK" };
        shell(
            &dir,
            &format!(
                "
            sign-efi-sig-list -t '1970-01-01 00:00:00' -k keys/{signer}.key -c keys/{signer}.crt {name} {name}.esl {name}.auth >/dev/null
            cmp {name}.auth out-{name}.auth"
            ),
        );
    }
    // Without the keys of the keys, for whoever makes the machine.
    shell(&dir, "mkdir public && cp keys/*.crt keys/GUID.txt public");
    moby_in(&dir, &["convert", "-q", "guest.tar", "-f", "raw", "--enroll-keys", "public", "--efi-vars", "qemu", "--name", "public"])
        .success();
    assert!(fs::read(dir.join("public-efivars.fd")).unwrap() == fs::read(dir.join("out-efivars.fd")).unwrap());
    let unsigned = moby_in(&dir, &["convert", "-q", "guest.tar", "-f", "raw", "--enroll-keys", "public", "--efi-vars", "auth"]);
    assert!(unsigned.code() == 2 && unsigned.errors().contains("PK.key that would sign it"), "{unsigned}");
    let unsigned = moby_in(
        &dir,
        &["convert", "-q", "guest.tar", "-f", "raw", "--sign-key", "keys/db.key", "--sign-cert", "keys/db.crt", "--enroll-keys", "public"],
    );
    assert!(unsigned.code() == 2 && unsigned.errors().contains("PK.key that would sign it"), "{unsigned}");
    // The disk, and nothing but the disk, where there are no keys on it.
    let none = moby_in(&dir, &["convert", "-q", "guest.tar", "-f", "raw", "--efi-vars", "qemu"]);
    assert!(none.code() == 2 && none.errors().contains("there are no keys to trust"), "{none}");
    for (file, path) in [
        ("out-gcp.json", "/shieldedInstanceInitialState/pk/content"),
        ("out-azure.json", "/securityProfile/uefiSettings/additionalSignatures/pk/value/0"),
    ] {
        let json: serde_json::Value = serde_json::from_slice(&fs::read(dir.join(file)).unwrap()).unwrap();
        let pem = fs::read_to_string(dir.join("keys/PK.crt")).unwrap();
        let base64: String = pem.lines().filter(|line| !line.starts_with("---")).collect();
        assert_eq!(json.pointer(path).and_then(|value| value.as_str()), Some(&*base64), "{file}");
    }
    // Variables that were signed by others are taken as they are, once they are what they say.
    shell(&dir, "mkdir ready && cp PK.auth KEK.auth db.auth ready");
    moby_in(
        &dir,
        &[
            "convert",
            "-q",
            "guest.tar",
            "-f",
            "raw",
            "--sign-key",
            "keys/db.key",
            "--sign-cert",
            "keys/db.crt",
            "--enroll-keys",
            "ready",
            "--name",
            "ready",
        ],
    )
    .success();
    let esp = |image: &str, file: &str| moby_in(&dir, &["extract", image, &format!("esp:/loader/keys/auto/{file}")]).success().stdout;
    for name in ["PK.auth", "KEK.auth", "db.auth"] {
        assert!(esp("ready.img", name) == fs::read(dir.join(name)).unwrap() && esp("out.img", name) == esp("ready.img", name));
    }
    shell(&dir, "cp db.auth ready/KEK.auth");
    let swapped = moby_in(
        &dir,
        &["convert", "-q", "guest.tar", "-f", "raw", "--sign-key", "keys/db.key", "--sign-cert", "keys/db.crt", "--enroll-keys", "ready"],
    );
    assert!(swapped.code() == 2 && swapped.errors().contains("KEK.auth"), "{swapped}");
}

#[test]
fn signatures_are_shown_and_judged() {
    let dir = with_keys("signing-judged", &[2048]);
    moby_in(&dir, &["keys", "-q", "other"]).success();
    moby_in(&dir, &["keys", "-q", "keys"]).success();
    moby_in(&dir, &["convert", "-q", "guest.tar", "-f", "raw,uki", "--secure-boot", "keys", "--name", "out"]).success();
    moby_in(&dir, &["convert", "-q", "guest.tar", "-f", "raw", "--name", "plain"]).success();
    let facts = |file: &str, more: &[&str]| -> serde_json::Value {
        serde_json::from_slice(&moby_in(&dir, &[&["inspect", "--json", file], more].concat()).success().stdout).unwrap()
    };
    let (uki, disk) = (facts("out.efi", &["--pcrs"]), facts("out.img", &["--pcrs"]));
    assert_eq!(uki["signatures"][0]["subject"], "CN=moby db");
    assert_eq!(uki["signatures"][0]["digest"], "matches");
    assert_eq!(disk["loaders"]["uefi"][0]["signatures"], uki["signatures"]);
    assert_eq!(uki["pcrs"], disk["pcrs"]);
    assert_eq!(uki["pcrs"].as_object().unwrap().keys().collect::<Vec<_>>(), ["4", "9", "11"]);
    let refused = moby_in(&dir, &["inspect", "--pcrs", "plain.img"]);
    assert!(refused.code() == 3 && refused.errors().contains("no unified kernel image is started"), "{refused}");

    shell(&dir, "cp out.efi changed.efi && printf X | dd of=changed.efi bs=1 seek=9000 conv=notrunc 2>/dev/null");
    let cases = [
        ("out.efi", Some("keys"), 0, "No errors were found"),
        ("out.img", Some("keys"), 0, "No errors were found"),
        ("guest.efi", None, 0, "No errors were found"),
        ("out.efi", Some("other"), 2, "is signed by CN=moby db, which none of the certificates leads to"),
        ("out.img", Some("other"), 2, "/EFI/BOOT/BOOTX64.EFI is signed by CN=moby db"),
        ("plain.img", Some("keys"), 2, "/EFI/BOOT/BOOTX64.EFI is not signed"),
        ("guest.efi", Some("keys"), 2, "it is not signed"),
        ("changed.efi", None, 2, "the signature of CN=moby db is not of this program"),
        ("changed.efi", Some("keys"), 2, "was changed after it was signed"),
    ];
    for (file, db, code, words) in cases {
        let certificate = db.map(|db| format!("{db}/db.crt"));
        let more: Vec<&str> = certificate.iter().flat_map(|path| ["--db-cert", path]).collect();
        let checked = moby_in(&dir, &[&["check", file], &more[..]].concat());
        assert!(checked.code() == code && checked.text().contains(words), "{words}\n{checked}");
    }

    let cases = [
        ("plain.img", "metal", "error secure-boot: found no signature"),
        ("out.img", "metal", "unknown secure-boot: found a signature by CN=moby db"),
        ("out.img", "openstack", "error secure-boot: found a signature by CN=moby db; needed one by Microsoft"),
    ];
    for (file, platform, words) in cases {
        let judged = moby_in(&dir, &["lint", file, "--target", platform, "--secure-boot"]);
        assert!(judged.text().contains(words), "{words}\n{judged}");
        let without = moby_in(&dir, &["lint", file, "--target", platform]);
        assert!(!without.text().contains("secure-boot"), "{without}");
    }
    let warned = moby_in(&dir, &["lint", "plain.img", "--target", "hyperv"]);
    assert!(warned.text().contains("warning secure-boot: found no signature"), "{warned}");
}

#[test]
fn a_shim_stands_in_front_of_what_it_starts() {
    let dir = with_keys("signing-shim", &[2048]);
    fs::write(dir.join("shim"), "shim").unwrap();
    fs::write(dir.join("manager"), "manager").unwrap();
    let sign = ["--sign-key", "2048.key", "--sign-cert", "2048.crt"];
    let convert = |arguments: &[&str]| moby_in(&dir, &[&["convert", "-q", "guest.tar", "--name", "out", "-f", "raw"], arguments].concat());
    convert(&[&sign[..], &["--shim", "shim", "--mok-manager", "manager"]].concat()).success();
    let file = |path: &str| moby_in(&dir, &["extract", "out.img", path]).success().stdout;
    assert_eq!((file("esp:/EFI/BOOT/BOOTX64.EFI"), file("esp:/EFI/BOOT/mmx64.efi")), (b"shim".to_vec(), b"manager".to_vec()));
    fs::write(dir.join("second.efi"), file("esp:/EFI/BOOT/grubx64.efi")).unwrap();
    run("sbverify", ["--cert", text(&dir.join("2048.crt")), text(&dir.join("second.efi"))]);
    let entry = String::from_utf8(file("esp:/loader/entries/moby.conf")).unwrap();
    assert!(entry.contains("uki          /EFI/BOOT/grubx64.efi\n"), "{entry}");
    let unsigned = convert(&["--shim", "shim"]);
    assert!(unsigned.code() == 3 && unsigned.errors().contains("--shim has no effect on raw"), "{unsigned}");
}
