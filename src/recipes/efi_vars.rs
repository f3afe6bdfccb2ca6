//! The variables of a machine's firmware that make it trust what was signed, for whoever makes the machine. They come from the user's keys
//! alone: what else is converted does not matter.

use super::{Job, Recipe};
use crate::{
    error::{Error, Result},
    request::{self, Request, Setting},
    secure_boot::{self, Enrolment, SecureBoot},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use formats::{
    Blob, Guid,
    efivars::{self, Variable, aws, flash, signature_list},
    x509::Certificate,
};
use serde_json::{Value, json};

/// The variables, as one kind of machine takes them.
#[derive(Debug)]
pub(crate) enum EfiVars {
    /// The flash of a machine of QEMU's.
    Flash(flash::Kind),
    /// EC2's `UefiData`.
    Aws,
    /// Compute Engine's `shieldedInstanceInitialState`.
    Gcp,
    /// Azure's `uefiSettings`.
    Azure,
    /// The variables one by one, signed and not.
    Auth,
}

/// What the files of [`EfiVars::Auth`] are called.
pub(crate) const AUTH_FILES: &[&str] = &["-PK.auth", "-KEK.auth", "-db.auth", "-PK.esl", "-KEK.esl", "-db.esl"];

impl Recipe for EfiVars {
    fn heeds(&self, _: &Request) -> Vec<&'static Setting> {
        vec![&request::ENROLL_KEYS]
    }

    fn plan(&self, request: &Request) -> Result<Job> {
        let missing =
            || Error::bad_input("there are no keys to trust").hint("--enroll-keys DIR or --secure-boot DIR, of a directory of moby keys");
        let secure_boot = request.secure_boot.clone();
        let enrolment = secure_boot.enrolment.clone().ok_or_else(missing)?;
        let files = self.files(&enrolment, &secure_boot)?;
        Ok(Box::new(move |_| Ok(super::Files { rows: files.clone(), extents: Vec::new() })))
    }
}

impl EfiVars {
    fn files(&self, enrolment: &Enrolment, secure_boot: &SecureBoot) -> Result<Vec<Blob>> {
        let variables = enrolment.variables();
        let text = |text: String| vec![Blob::from(text.into_bytes())];
        Ok(match self {
            Self::Flash(kind) => {
                let signing = secure_boot.shim.as_ref().and(secure_boot.signing.as_ref());
                let of_shim = signing.map(|signing| machine_owner(enrolment.owner(), signing.certificate()));
                vec![flash::write(*kind, &variables.iter().cloned().chain(of_shim).collect::<Vec<_>>())?]
            }
            Self::Aws => text(aws::write(variables)?),
            Self::Gcp => text(format!("{:#}\n", gcp(variables)?)),
            Self::Azure => text(format!("{:#}\n", azure(variables)?)),
            Self::Auth => auth(enrolment)?,
        })
    }
}

/// What shim trusts besides `db`: the list of the machine's owner.
fn machine_owner(owner: Guid, certificate: &Certificate) -> Variable {
    const SHIM: Guid = Guid::new(0x605dab50_e046_4300_abb6_3dd810dd8b23);
    let data = signature_list::write(owner, std::slice::from_ref(certificate));
    Variable { name: "MokList".to_owned(), vendor: SHIM, attributes: efivars::BOOT_SERVICES, time: None, data }
}

/// Images.insert of Compute Engine.
fn gcp(variables: &[Variable]) -> Result<Value> {
    let content = |certificate: &Certificate| json!({"content": BASE64_STANDARD.encode(certificate.der()), "fileType": "X509"});
    let all = |name: &str| -> Result<Vec<Value>> { Ok(certificates(variables, name)?.iter().map(content).collect()) };
    let state = json!({"pk": all("PK")?.into_iter().next(), "keks": all("KEK")?, "dbs": all("db")?, "dbxs": all("dbx")?});
    Ok(json!({"shieldedInstanceInitialState": state}))
}

/// Gallery image versions of Azure.
fn azure(variables: &[Variable]) -> Result<Value> {
    let entry = |certificate: &Certificate| json!({"type": "x509", "value": [BASE64_STANDARD.encode(certificate.der())]});
    let all = |name: &str| -> Result<Vec<Value>> { Ok(certificates(variables, name)?.iter().map(entry).collect()) };
    let signatures = json!({"pk": all("PK")?.into_iter().next(), "kek": all("KEK")?, "db": all("db")?, "dbx": all("dbx")?});
    let settings = json!({"signatureTemplateNames": ["NoSignatureTemplate"], "additionalSignatures": signatures});
    Ok(json!({"securityProfile": {"uefiSettings": settings}}))
}

fn certificates(variables: &[Variable], name: &str) -> Result<Vec<Certificate>> {
    variables.iter().find(|variable| variable.name == name).map_or(Ok(Vec::new()), |variable| secure_boot::certificates(&variable.data))
}

fn auth(enrolment: &Enrolment) -> Result<Vec<Blob>> {
    let (signed, lists) = (enrolment.signed()?, enrolment.variables());
    let of = |name: &str| -> Option<&[u8]> {
        let (name, ending) = name.trim_start_matches('-').split_once('.')?;
        match ending {
            "auth" => signed.iter().find(|(of, _)| *of == name).map(|(_, body)| &body[..]),
            _ => lists.iter().find(|variable| variable.name == name).map(|variable| &variable.data[..]),
        }
    };
    Ok(AUTH_FILES.iter().map(|name| Blob::bytes(of(name).unwrap_or_default())).collect())
}
