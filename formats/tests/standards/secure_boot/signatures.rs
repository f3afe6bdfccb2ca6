//! Signed files against `sbverify`, `sbsign`, `osslsigncode` and `hash-to-efi-sig-list`; signed variables against `sign-efi-sig-list`.

use super::{Key, TIME, image, shell, succeeds};
use crate::support::Desk;
use formats::{
    Guid, authenticode,
    efivars::{
        self, AUTHENTICATED, Keys, authenticated,
        signature_list::{self, Entry, Item},
    },
    x509::Certificate,
};
use std::fs;

const OWNER: &str = "11111111-2222-3333-4444-555566667777";

#[test]
fn what_we_sign_verifies_elsewhere() {
    for bits in [2048, 3072, 4096] {
        let desk = Desk::new();
        let (key, certificate) = Key::new(&desk, "db", bits);
        desk.put("signed.efi", &authenticode::sign(&image(), &[certificate], &key).unwrap());
        let verdict = shell(&desk, "sbverify --cert db.crt signed.efi");
        assert!(verdict.contains("Signature verification OK") && !verdict.contains("warning"), "{verdict}");
        let verdict = shell(&desk, "osslsigncode verify -CAfile db.crt -in signed.efi");
        assert!(verdict.contains("Number of verified signatures: 1") && verdict.contains("Succeeded"), "{verdict}");
    }
}

#[test]
fn signatures_of_several_stand_beside_each_other() {
    let desk = Desk::new();
    let (one, one_crt) = Key::new(&desk, "one", 2048);
    let (_, other_crt) = Key::new(&desk, "other", 2048);
    desk.put("plain.efi", &image());
    shell(&desk, "sbsign --key other.key --cert other.crt --output sb.efi plain.efi");
    shell(&desk, "osslsigncode sign -h sha256 -key other.key -certs other.crt -in plain.efi -out ossl.efi");
    for theirs in ["sb.efi", "ossl.efi"] {
        let file = desk.get(theirs);
        assert_eq!(authenticode::digest(&file).unwrap(), authenticode::digest(&image()).unwrap(), "{theirs}");
        let both = authenticode::sign(&file, std::slice::from_ref(&one_crt), &one).unwrap();
        let found = authenticode::signatures(&both).unwrap();
        assert_eq!(found.len(), 2, "{theirs}");
        for (signature, certificate) in found.iter().zip([&other_crt, &one_crt]) {
            assert!(
                signature.digest_matches && signature.is_valid && signature.is_trusted_by(std::slice::from_ref(certificate)),
                "{theirs}: {signature:?}"
            );
        }
        assert!(!found[0].is_trusted_by(std::slice::from_ref(&one_crt)));
        desk.put("both.efi", &both);
        shell(&desk, "sbverify --cert one.crt both.efi; sbverify --cert other.crt both.efi");
    }
    // Ours first, theirs behind it.
    desk.put("ours.efi", &authenticode::sign(&image(), &[one_crt], &one).unwrap());
    shell(&desk, "sbsign --key other.key --cert other.crt --output both.efi ours.efi; sbverify --cert one.crt both.efi");
    assert_eq!(authenticode::signatures(&desk.get("both.efi")).unwrap().iter().filter(|found| found.is_valid).count(), 2);
}

#[test]
fn nobody_takes_what_was_changed() {
    let desk = Desk::new();
    let (key, certificate) = Key::new(&desk, "db", 2048);
    Key::new(&desk, "stranger", 2048);
    let mut signed = authenticode::sign(&image(), std::slice::from_ref(&certificate), &key).unwrap().to_vec(u64::MAX).unwrap();
    desk.put("signed.efi", &signed.clone().into());
    assert!(succeeds(&desk, "sbverify --cert db.crt signed.efi") && !succeeds(&desk, "sbverify --cert stranger.crt signed.efi"));
    let at = signed.len() / 2;
    signed[at] ^= 1;
    desk.put("changed.efi", &signed.clone().into());
    assert!(!succeeds(&desk, "sbverify --cert db.crt changed.efi"));
    let found = authenticode::signatures(&signed.into()).unwrap().remove(0);
    assert!(found.is_valid && !found.digest_matches && !found.is_trusted_by(&[certificate]));
}

/// A signer whom a root does not know, but who is below one whom it knows.
#[test]
fn a_chain_is_carried_as_others_carry_it() {
    let desk = Desk::new();
    let (_, root) = Key::new(&desk, "root", 2048);
    for name in ["between", "leaf"] {
        Key::new(&desk, name, 2048);
    }
    shell(
        &desk,
        "ca() { openssl req -new -key $1.key -subj /CN=$1 | openssl x509 -req -CA $2.crt -CAkey $2.key -days 10000 -sha512 -extfile <(echo basicConstraints=CA:$3) -out $1.crt; }
         ca between root TRUE; ca leaf between FALSE",
    );
    let read = |name: &str| Certificate::read(&fs::read(desk.path(name)).unwrap()).unwrap().remove(0);
    let leaf = Key { path: desk.path("leaf.key"), public: read("leaf.crt").public_key().unwrap() };
    let signed = authenticode::sign(&image(), &[read("leaf.crt"), read("between.crt")], &leaf).unwrap();
    desk.put("signed.efi", &signed);
    let verdict = shell(&desk, "osslsigncode verify -CAfile root.crt -in signed.efi");
    assert!(verdict.contains("Number of verified signatures: 1"), "{verdict}");
    let found = authenticode::signatures(&signed).unwrap().remove(0);
    assert!(found.is_trusted_by(&[root]) && found.is_trusted_by(&[read("leaf.crt")]));
}

#[test]
fn lists_are_those_of_efitools() {
    let desk = Desk::new();
    let (_, certificate) = Key::new(&desk, "db", 2048);
    let owner: Guid = OWNER.parse().unwrap();
    shell(&desk, &format!("cert-to-efi-sig-list -g {OWNER} db.crt theirs"));
    assert_eq!(signature_list::write(owner, &[certificate]), fs::read(desk.path("theirs")).unwrap());
    desk.put("plain.efi", &image());
    shell(&desk, "hash-to-efi-sig-list plain.efi theirs");
    // It names shim as the owner.
    let shim = Guid::new(0x605dab50_e046_4300_abb6_3dd810dd8b23);
    let digest = Entry { owner: shim, item: Item::Sha256(authenticode::digest(&image()).unwrap()) };
    assert_eq!(signature_list::write_entries(std::slice::from_ref(&digest)), fs::read(desk.path("theirs")).unwrap());
    assert_eq!(signature_list::read(&fs::read(desk.path("theirs")).unwrap()).unwrap(), [digest]);
}

#[test]
fn signed_variables_are_those_of_efitools() {
    let desk = Desk::new();
    let owner: Guid = OWNER.parse().unwrap();
    let [(pk_key, pk), (kek_key, kek), (_, db)] =
        [("PK", 2048), ("KEK", 3072), ("db", 4096)].map(|(name, bits)| Key::new(&desk, name, bits));
    let keys = Keys { owner, pk: pk.clone(), kek: vec![kek.clone()], db: vec![db], dbx: vec![Item::Sha256([7; 32])] };
    for variable in keys.variables() {
        let (by, certificate, key) = if variable.vendor == efivars::GLOBAL { ("PK", &pk, &pk_key) } else { ("KEK", &kek, &kek_key) };
        let ours = authenticated::write(&variable, certificate, key, TIME).unwrap();
        fs::write(desk.path("list"), &variable.data).unwrap();
        shell(&desk, &format!("sign-efi-sig-list -t '2024-02-29 12:34:56' -k {by}.key -c {by}.crt {} list theirs", variable.name));
        assert!(ours == fs::read(desk.path("theirs")).unwrap(), "{}: other bytes than theirs", variable.name);
        let update = authenticated::read(&ours, &variable.name, variable.vendor, AUTHENTICATED).unwrap();
        assert!(update.is_trusted_by(std::slice::from_ref(certificate)) && update.variable.data == variable.data, "{}", variable.name);
    }
}
