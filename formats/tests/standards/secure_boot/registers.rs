//! Registers told in advance against `systemd-measure` and `virt-fw-measure`; what a TPM says is asked of guests that boot.

use super::{Key, image, shell};
use crate::support::Desk;
use formats::{
    Guid,
    efivars::{
        Keys,
        flash::{self, Kind as Flash},
        signature_list::Item,
    },
    pcr, uki,
};

#[test]
fn sections_measure_as_systemd_says() {
    let desk = Desk::new();
    for (name, body) in uki::divide(&image()).unwrap() {
        desk.put(name.trim_start_matches('.'), &body);
    }
    let told = shell(
        &desk,
        "/usr/lib/systemd/systemd-measure calculate --bank=sha256 --phase=: --linux=linux --osrel=osrel --cmdline=cmdline --initrd=initrd",
    );
    let found = pcr::uki(&image()).unwrap();
    assert!(told.contains(&format!("11:sha256={found}")), "{found} in {told}");
}

#[test]
fn variables_measure_as_virt_firmware_says() {
    const VIRT_FW_MEASURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../.cache/oracles/bin/virt-fw-measure");
    let desk = Desk::new();
    let (_, certificate) = Key::new(&desk, "db", 2048);
    let owner = Guid::new(0x11111111_2222_3333_4444_555566667777);
    let (pk, kek, db) = (certificate.clone(), vec![certificate.clone()], vec![certificate]);
    // It does not measure variables that are absent, as firmware does.
    let variables = Keys { owner, pk, kek, db, dbx: vec![Item::Sha256([7; 32])] }.variables();
    desk.put("vars.fd", &flash::write(Flash::Ovmf4M, &variables).unwrap());
    let told = shell(&desk, &format!("{VIRT_FW_MEASURE} --vars vars.fd --digests"));
    let found = pcr::secure_boot(&variables, None).to_string();
    assert!(told.contains(&found), "{found} in {told}");
}
