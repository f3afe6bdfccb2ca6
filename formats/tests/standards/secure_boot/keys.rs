//! Certificates against `openssl x509` and `openssl verify`.

use super::{Key, shell};
use crate::support::Desk;
use formats::{Kind, x509::Certificate};
use std::fs;

fn read(desk: &Desk, name: &str) -> Vec<Certificate> {
    Certificate::read(&fs::read(desk.path(name)).unwrap()).unwrap()
}

#[test]
fn our_certificates_are_sound() {
    for bits in [2048, 3072, 4096] {
        let desk = Desk::new();
        let (key, certificate) = Key::new(&desk, "db", bits);
        assert_eq!((key.public.bits(), certificate.public_key().unwrap()), (usize::try_from(bits).unwrap(), key.public));
        let verdict = shell(&desk, "openssl verify -x509_strict -check_ss_sig -attime 1709210100 -CAfile db.crt db.crt");
        assert!(verdict.contains("db.crt: OK"), "{verdict}");
        let told =
            shell(&desk, "openssl x509 -in db.crt -noout -subject -serial -dates -fingerprint -sha256 -ext basicConstraints,keyUsage");
        let wanted = [
            "subject=CN = db",
            "serial=80808080808080808080808080808080",
            "notBefore=Feb 29 12:34:56 2024 GMT",
            "notAfter=Jan  1 00:00:00 2050 GMT",
            "CA:TRUE",
            "Digital Signature, Certificate Sign",
        ];
        wanted.into_iter().for_each(|line| assert!(told.contains(line), "{line} in {told}"));
        let fingerprint: Vec<_> = certificate.sha256().iter().map(|byte| format!("{byte:02X}")).collect();
        assert!(told.contains(&fingerprint.join(":")), "{told}");
        shell(&desk, "openssl x509 -in db.crt -pubkey -noout | openssl pkey -pubin -outform DER | cmp - db.pub");
        // The public key alone, as its fingerprint is made.
        fs::write(desk.path("pkcs1"), certificate.public_key().unwrap().pkcs1()).unwrap();
        shell(&desk, "openssl rsa -pubin -inform DER -in db.pub -RSAPublicKey_out -outform DER 2>/dev/null | cmp - pkcs1");
    }
}

#[test]
fn certificates_of_others_are_read() {
    let desk = Desk::new();
    Key::new(&desk, "ca", 2048);
    shell(
        &desk,
        r#"openssl req -new -key ca.key -subj '/C=DE/O=Lüb, "eck"/OU=x+emailAddress=a@example.org/CN= #a\\b ' -utf8 -multivalue-rdn -out req 2>/dev/null ||
             openssl req -new -key ca.key -subj '/C=DE/O=Lüb, "eck"/OU=x+emailAddress=a@example.org/CN= #a\\b ' -utf8 -out req
           openssl x509 -req -in req -CA ca.crt -CAkey ca.key -days 10000 -sha384 -set_serial 7 -out named.crt
           openssl x509 -in named.crt -outform DER -out named.der
           cat ca.crt ca.key named.crt > all.pem
           openssl x509 -in named.crt -noout -subject -nameopt RFC2253,-esc_msb,utf8 > subject"#,
    );
    let [named] = read(&desk, "named.der").try_into().unwrap();
    assert_eq!(read(&desk, "all.pem"), [read(&desk, "ca.crt").remove(0), named.clone()]);
    let wanted = fs::read_to_string(desk.path("subject")).unwrap();
    assert_eq!(format!("subject={}", named.subject()), wanted.trim_end());
    assert_eq!(named.issuer(), "CN=ca");
}

#[test]
fn keys_that_firmware_does_not_take_are_named() {
    let desk = Desk::new();
    for (algorithm, words) in [
        ("EC -pkeyopt ec_paramgen_curve:P-256", "an EC key (P-256): firmware takes RSA of 2048 to 4096 bits"),
        ("EC -pkeyopt ec_paramgen_curve:P-384", "an EC key (P-384)"),
        ("EC -pkeyopt ec_paramgen_curve:secp256k1", "an EC key (1.3.132.0.10)"),
        ("ED25519", "an Ed25519 key"),
        ("ED448", "an Ed448 key"),
        ("RSA-PSS -pkeyopt rsa_keygen_bits:2048", "a key for RSASSA-PSS alone"),
        ("RSA -pkeyopt rsa_keygen_bits:1024", "an RSA key of 1024 bits"),
    ] {
        shell(
            &desk,
            &format!(
                "openssl genpkey -quiet -algorithm {algorithm} -out key; openssl req -x509 -new -key key -subj /CN=x -days 9 -out crt"
            ),
        );
        let error = read(&desk, "crt")[0].public_key().unwrap_err();
        assert!(error.to_string().starts_with(words) && error.kind() == Kind::Unsupported, "{error}");
    }
}
