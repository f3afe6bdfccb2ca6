//! Variables of UEFI firmware (UEFI 2.10, 8.2) that decide what it starts, and the forms in which they are handed to it.
//!
//! | module | form | who takes it |
//! |---|---|---|
//! | [`signature_list`] | certificates and digests, the content of `PK`, `KEK`, `db` and `dbx` (32.4.1) | everything below |
//! | [`authenticated`] | a variable with the signature that allows to set it (8.2.2): a `.auth` file | firmware menus, loaders |
//! | [`flash`] | EDK2's store in a flash volume | QEMU, libvirt |
//! | [`aws`] | `UefiData` | EC2 |

pub mod authenticated;
pub mod aws;
pub mod flash;
pub mod signature_list;
mod time;

use crate::{Error, Guid, Result, Timestamp, x509::Certificate};
use signature_list::{Entry, Item};

/// EFI_GLOBAL_VARIABLE (3.3): the vendor of `PK` and `KEK`.
pub const GLOBAL: Guid = Guid::new(0x8be4df61_93ca_11d2_aa0d_00e098032b8c);
/// EFI_IMAGE_SECURITY_DATABASE_GUID (32.6.1): the vendor of `db` and `dbx`.
pub const IMAGE_SECURITY: Guid = Guid::new(0xd719b2cb_3d3a_4596_a3bc_dad00e67656f);

/// EFI_VARIABLE_NON_VOLATILE and EFI_VARIABLE_BOOTSERVICE_ACCESS.
pub const BOOT_SERVICES: u32 = 0x03;
/// The same, EFI_VARIABLE_RUNTIME_ACCESS and EFI_VARIABLE_TIME_BASED_AUTHENTICATED_WRITE_ACCESS.
pub const AUTHENTICATED: u32 = 0x27;

/// A variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name, without the NUL at its end.
    pub name: String,
    /// Whose name it is.
    pub vendor: Guid,
    /// As in section 8.2.1.
    pub attributes: u32,
    /// When it was set, if it is authenticated and that is known: only what is later sets it again.
    pub time: Option<Timestamp>,
    /// Its content.
    pub data: Vec<u8>,
}

impl Variable {
    /// One of `PK`, `KEK`, `db` and `dbx`.
    pub fn of_keys(name: &str, data: Vec<u8>) -> Self {
        let vendor = if name.starts_with("db") { IMAGE_SECURITY } else { GLOBAL };
        Self { name: name.to_owned(), vendor, attributes: AUTHENTICATED, time: None, data }
    }
}

/// The keys of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Who put them there.
    pub owner: Guid,
    /// Who may change `KEK`, and whether Secure Boot is on: the platform key.
    pub pk: Certificate,
    /// Who may change `db` and `dbx`: key exchange keys.
    pub kek: Vec<Certificate>,
    /// What is started: by these, or by who is certified by these.
    pub db: Vec<Certificate>,
    /// What is not started, whatever `db` says.
    pub dbx: Vec<Item>,
}

impl Keys {
    /// `PK`, `KEK`, `db` and `dbx`; none of which there is nothing.
    pub fn variables(&self) -> Vec<Variable> {
        let certificates = |all: &[Certificate]| signature_list::write(self.owner, all);
        let dbx: Vec<_> = self.dbx.iter().map(|item| Entry { owner: self.owner, item: item.clone() }).collect();
        let all = [
            ("PK", certificates(std::slice::from_ref(&self.pk))),
            ("KEK", certificates(&self.kek)),
            ("db", certificates(&self.db)),
            ("dbx", signature_list::write_entries(&dbx)),
        ];
        all.into_iter().filter(|(_, data)| !data.is_empty()).map(|(name, data)| Variable::of_keys(name, data)).collect()
    }
}

/// A name in UTF-16, without NUL.
pub(crate) fn utf16(name: &str) -> Vec<u8> {
    name.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// A name that is in UTF-16.
fn from_utf16(bytes: &[u8]) -> Result<String> {
    let (units, rest) = bytes.as_chunks();
    let units: Vec<u16> = units.iter().copied().map(u16::from_le_bytes).collect();
    let name = String::from_utf16(&units).ok().filter(|_| rest.is_empty());
    name.ok_or_else(|| Error::bad_input("the name of a variable is no UTF-16"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{signer::Scratch, x509::tests::own};

    #[test]
    fn keys_become_variables() {
        let [pk, kek, db] = ["PK", "KEK", "db"].map(|name| own(name, &Scratch::one()));
        let owner = Guid::new(7);
        let mut keys = Keys { owner, pk: pk.clone(), kek: vec![kek], db: vec![db.clone(), pk], dbx: vec![Item::Sha256([1; 32])] };
        let told = |keys: &Keys| -> Vec<_> {
            let variables = keys.variables();
            assert!(variables.iter().all(|variable| variable.attributes == 0x27 && variable.time.is_none()));
            let lists = variables.iter().map(|variable| signature_list::read(&variable.data).unwrap());
            assert!(lists.clone().flatten().all(|entry| entry.owner == owner));
            variables.iter().zip(lists).map(|(variable, list)| (variable.name.clone(), variable.vendor, list.len())).collect()
        };
        let all = [
            ("PK".to_owned(), GLOBAL, 1),
            ("KEK".to_owned(), GLOBAL, 1),
            ("db".to_owned(), IMAGE_SECURITY, 2),
            ("dbx".to_owned(), IMAGE_SECURITY, 1),
        ];
        assert_eq!(told(&keys), all);
        keys.dbx.clear();
        keys.kek.clear();
        assert_eq!(told(&keys), [all[0].clone(), all[2].clone()]);
    }
}
