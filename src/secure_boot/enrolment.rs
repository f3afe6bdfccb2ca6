//! What machines are to trust: the platform key, the key exchange keys and the databases, as certificates of a directory or signed already.

use super::Key;
use crate::error::{At, Error, Result};
use formats::{
    Blob, Guid, Ids, Timestamp,
    efivars::{Variable, authenticated, signature_list},
    fat::File,
    x509::Certificate,
};

/// Where loaders look for what they enrol in setup mode.
const DIRECTORY: &str = "/loader/keys/auto";
/// The variables, and whose key signs each (UEFI 2.10, section 32.3.1), in the order in which they must be known.
const VARIABLES: [(&str, &str); 4] = [("PK", "PK"), ("KEK", "PK"), ("db", "KEK"), ("dbx", "KEK")];
/// The one that may be absent.
const OPTIONAL: &str = "dbx";

/// What a directory has of one variable.
#[derive(Debug, Default)]
pub struct OfVariable {
    /// Its name.
    pub name: &'static str,
    /// The variable as it was signed.
    pub signed: Option<Vec<u8>>,
    /// Else what goes into it.
    pub certificates: Vec<Certificate>,
    /// The key of the first certificate, which signs other variables.
    pub key: Option<Key>,
}

impl OfVariable {
    /// The names of the variables for which a directory is looked through.
    pub fn names() -> impl Iterator<Item = &'static str> {
        VARIABLES.iter().map(|(name, _)| *name)
    }
}

/// What machines are to trust.
#[derive(Debug)]
pub struct Enrolment {
    owner: Guid,
    variables: Vec<Variable>,
    /// The variables as they are handed to firmware, where they are signed.
    signed: Vec<(&'static str, Vec<u8>)>,
    /// What there is no signed variable for the want of.
    missing: Option<String>,
    /// Whether real machines are to take them.
    is_forced: bool,
}

impl Enrolment {
    /// Of what a directory has, with more certificates for `db`. New signatures are of this time.
    ///
    /// # Errors
    /// When a variable is missing, or is signed by another than whose signature firmware asks for.
    pub fn new(owner: Option<Guid>, of: Vec<OfVariable>, more: Vec<Certificate>, time: Timestamp, is_forced: bool) -> Result<Self> {
        let find =
            |wanted: &str| of.iter().find(|found| found.name == wanted && (found.signed.is_some() || !found.certificates.is_empty()));
        let first = |wanted: &str| find(wanted).and_then(|found| found.certificates.first());
        let owner = owner.or_else(|| first("PK").map(|pk| Ids::from_seed(pk.der()).guid("owner"))).unwrap_or(Guid::NIL);
        let mut enrolment = Self { owner, variables: Vec::new(), signed: Vec::new(), missing: None, is_forced };
        for (name, signer) in VARIABLES {
            let Some(found) = find(name) else {
                if name == OPTIONAL {
                    continue;
                }
                return Err(Error::bad_input(format!("there is neither {name}.crt nor {name}.auth")).hint("moby keys DIR makes them all"));
            };
            let mut variable = Variable::of_keys(name, Vec::new());
            if let Some(signed) = &found.signed {
                if name == "db" && !more.is_empty() {
                    return Err(Error::bad_input("db.auth is signed already, so that --db-cert cannot add to it")
                        .hint("give db.crt and KEK.key instead"));
                }
                variable = enrolment.verified(name, signer, signed).at(|| format!("{name}.auth"))?;
                enrolment.signed.push((name, signed.clone()));
            } else {
                let more = if name == "db" { &more[..] } else { &[] };
                variable.data = signature_list::write(owner, &[&found.certificates[..], more].concat());
                match find(signer).map(|found| (found.certificates.first(), &found.key)) {
                    Some((Some(certificate), Some(key))) => {
                        enrolment
                            .signed
                            .push((name, authenticated::write(&variable, certificate, key, time).at(|| format!("{signer}.key"))?));
                    }
                    _ => {
                        enrolment.missing = enrolment
                            .missing
                            .or_else(|| Some(format!("there is neither {name}.auth nor the {signer}.key that would sign it")))
                    }
                }
            }
            enrolment.variables.push(variable);
        }
        Ok(enrolment)
    }

    /// The variable that was signed, by those whose signature firmware will ask for: in setup mode it asks for none but the platform key's, and
    /// what is wrong would be found when it is too late.
    fn verified(&self, name: &str, signer: &str, signed: &[u8]) -> Result<Variable> {
        let Variable { vendor, attributes, .. } = Variable::of_keys(name, Vec::new());
        let update = authenticated::read(signed, name, vendor, attributes)?;
        let signers = self.variables.iter().find(|variable| variable.name == signer).unwrap_or(&update.variable);
        let signers = super::certificates(&signers.data)?;
        match update.is_trusted_by(&signers) {
            true => Ok(Variable { time: None, ..update.variable }),
            false => Err(Error::bad_input(format!("is not signed by {signer} for {name}"))
                .hint("sign-efi-sig-list signs it, or moby, where the keys are")),
        }
    }

    /// Whose keys they are.
    pub fn owner(&self) -> Guid {
        self.owner
    }

    /// The variables as firmware keeps them.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// The variables as firmware takes them from whoever sets them, by their names.
    ///
    /// # Errors
    /// Says which key is missing.
    pub fn signed(&self) -> Result<&[(&'static str, Vec<u8>)]> {
        match &self.missing {
            None => Ok(&self.signed),
            Some(missing) => {
                Err(Error::bad_input(missing.clone())
                    .hint("variables of a machine that is made, as --efi-vars writes them, need no signature"))
            }
        }
    }

    /// What a boot partition has of them, from which our loader enrols.
    pub(super) fn files(&self) -> Vec<File> {
        let Ok(signed) = self.signed() else { return Vec::new() };
        let file = |name: &str, body: &[u8]| File::new(format!("{DIRECTORY}/{name}"), Blob::bytes(body));
        let mut files: Vec<_> = signed.iter().map(|(name, body)| file(&format!("{name}.auth"), body)).collect();
        files.extend(self.is_forced.then(|| file("force", b"")));
        files
    }
}
