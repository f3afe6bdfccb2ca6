//! vSphere: who logs in to which vCenter or ESXi, and where on it, by the variables of VMware's `govc`.
//!
//! | variables | what they say |
//! |---|---|
//! | `GOVC_URL`, `GOVC_USERNAME`, `GOVC_PASSWORD` | the server, and a login, which may stand in the URL, too; name or password may be in a file that is named |
//! | `GOVC_INSECURE`, `GOVC_TLS_CA_CERTS` | whose certificates are taken: anybody's, or those of these authorities |
//! | `GOVC_DATACENTER`, `GOVC_FOLDER`, `GOVC_RESOURCE_POOL`, `GOVC_HOST`, `GOVC_DATASTORE`, `GOVC_NETWORK` | where |

use super::{
    Secret, Variables,
    chain::{Found, Looked, first},
    environment::Environment,
};
use crate::url::{Url, decoded};
use formats::{At, Error, Result};
use std::{env, fs, io, path::PathBuf};

const VARIABLES: &[&str] = &[
    "GOVC_DATACENTER",
    "GOVC_DATASTORE",
    "GOVC_FOLDER",
    "GOVC_HOST",
    "GOVC_INSECURE",
    "GOVC_NETWORK",
    "GOVC_PASSWORD",
    "GOVC_RESOURCE_POOL",
    "GOVC_TLS_CA_CERTS",
    "GOVC_URL",
    "GOVC_USERNAME",
];

/// Finds the login.
#[derive(Debug)]
pub(crate) struct Chain {
    env: Environment,
}

/// Who logs in, and where.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    /// Where SOAP is spoken.
    pub(crate) url: Url,
    pub(crate) user: String,
    pub(crate) password: Secret,
}

/// A server and what its URL says of the login.
type Address = (Url, Option<String>, Option<Secret>);

impl Chain {
    /// Nothing is looked at yet but the environment.
    pub(crate) fn new(env: Variables<'_>) -> Self {
        Self { env: Environment::new(env, VARIABLES) }
    }

    /// The login at the server of this address, else at that of the environment.
    ///
    /// # Errors
    /// Bad input: nothing names a server, a user or a password, or an address is none.
    pub(crate) fn login(&self, endpoint: Option<&str>) -> Result<Login> {
        let found = first(
            "there is an address of vSphere",
            "as govc has it: GOVC_URL=vcenter.example",
            &[&|| {
                let (text, from) = match endpoint {
                    Some(text) => (Some(text), "--endpoint"),
                    None => (self.env.text("GOVC_URL")?, "the variable GOVC_URL"),
                };
                let Some(text) = text else { return Ok(Looked::Nothing(format!("--endpoint; {from}"))) };
                Ok(Looked::Found(Found { value: address(text).at(|| from)?, until: None, from: from.to_owned() }))
            }],
        )?;
        let ((url, user, password), from) = (found.value, found.from);
        let part = |what: &str, name: &'static str, of_url: Option<Secret>| {
            first(
                &format!("there is a {what} for {}", url.authority()),
                "these are the variables of govc",
                &[&|| self.told(name), &|| {
                    let looked = of_url.clone().map(|value| Looked::Found(Found { value, until: None, from: from.clone() }));
                    Ok(looked.unwrap_or_else(|| Looked::Nothing(from.clone())))
                }],
            )
        };
        let user = part("user", "GOVC_USERNAME", user.map(Secret::new))?.value.told().to_owned();
        let password = part("password", "GOVC_PASSWORD", password)?.value;
        Ok(Login { url, user, password })
    }

    /// What a variable says, or the file that it names.
    fn told(&self, name: &'static str) -> Result<Looked<Secret>> {
        let from = format!("the variable {name}");
        let Some(text) = self.env.text(name)? else { return Ok(Looked::Nothing(from)) };
        let value = match fs::read_to_string(text) {
            Ok(text) => Secret::new(text.trim()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return Err(Error::from(error).at("the file that it names").at(from));
            }
            Err(_) => Secret::new(text),
        };
        Ok(Looked::Found(Found { value, until: None, from }))
    }

    /// What a variable says of the place: that of this name behind `GOVC_`.
    ///
    /// # Errors
    /// Bad input: it is not UTF-8.
    pub(crate) fn place(&self, name: &str) -> Result<Option<String>> {
        Ok(self.env.text(name)?.map(str::to_owned))
    }

    /// Whether anybody's certificate is taken.
    ///
    /// # Errors
    /// As [`Chain::place`].
    pub(crate) fn is_insecure(&self) -> Result<bool> {
        self.env.is_on("GOVC_INSECURE")
    }

    /// The files with authorities that are trusted in the place of the machine's.
    ///
    /// # Errors
    /// As [`Chain::place`].
    pub(crate) fn authorities(&self) -> Result<Vec<PathBuf>> {
        Ok(self.env.text("GOVC_TLS_CA_CERTS")?.map(|list| env::split_paths(list).collect()).unwrap_or_default())
    }
}

/// What a URL says, as `govc` reads it: without a scheme it is `https`, without a path it is that of the SDK.
fn address(text: &str) -> Result<Address> {
    let (scheme, rest) = text.trim().split_once("://").unwrap_or(("https", text.trim()));
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    // A password with such a character in it would be shown as a path.
    if path.contains('@') {
        return Err(Error::bad_input("it is no URL").hint("in user and password /, ?, # and @ are written as %2F, %3F, %23 and %40"));
    }
    let (login, host) = authority.rsplit_once('@').map_or((None, authority), |(login, host)| (Some(login), host));
    let path = if path.is_empty() || path == "/" { "/sdk" } else { path };
    let url = Url::parse(&format!("{scheme}://{host}{path}"))?;
    let (user, password) = login.map_or((None, None), |login| {
        let (user, password) = login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
        (Some(decoded(user)), password.map(|password| Secret::new(decoded(password))))
    });
    Ok((url, user.filter(|user| !user.is_empty()), password.filter(|password| !password.told().is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use formats::Kind;

    fn chain(variables: &[(&str, &str)]) -> Chain {
        Chain::new(&|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into()))
    }

    fn login(variables: &[(&str, &str)]) -> (String, String, String) {
        let login = chain(variables).login(None).unwrap();
        (login.url.whole(), login.user, login.password.told().to_owned())
    }

    #[test]
    fn the_url_has_it_all_or_variables_have() {
        let said = |url: &str, user: &str, password: &str| (url.to_owned(), user.to_owned(), password.to_owned());
        let (user, password) = (("GOVC_USERNAME", "app"), ("GOVC_PASSWORD", "hunter2"));
        assert_eq!(login(&[("GOVC_URL", "vc.example"), user, password]), said("https://vc.example/sdk", "app", "hunter2"));
        assert_eq!(login(&[("GOVC_URL", "http://h:8989/"), user, password]), said("http://h:8989/sdk", "app", "hunter2"));
        let whole = ("GOVC_URL", "https://me%40vsphere.local:a%2Fb:c@vc.example/other");
        assert_eq!(login(&[whole]), said("https://vc.example/other", "me@vsphere.local", "a/b:c"));
        assert_eq!(login(&[("GOVC_URL", "me@vsphere.local:x@vc.example"), password]).1, "me@vsphere.local");
        assert_eq!(login(&[whole, user, password]), said("https://vc.example/other", "app", "hunter2"));
        assert_eq!(chain(&[whole]).login(Some("esx.example")).unwrap_err().kind(), Kind::BadInput);
    }

    #[test]
    fn name_and_password_may_be_in_files() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        fs::write(&file, "hunter2\n").unwrap();
        let said = login(&[("GOVC_URL", "me@vc"), ("GOVC_PASSWORD", file.to_str().unwrap())]);
        assert_eq!((said.1.as_str(), said.2.as_str()), ("me", "hunter2"));
    }

    #[test]
    fn who_finds_nothing_says_where_he_looked() {
        let refused = |variables: &[(&str, &str)]| {
            let error = chain(variables).login(None).unwrap_err();
            assert_eq!(error.kind(), Kind::BadInput);
            assert!(!format!("{error} {:?} {:?}", error.hint_text(), chain(variables)).contains("secret"), "{error}");
            error.to_string()
        };
        assert_eq!(refused(&[]), "there is an address of vSphere in none of these places: --endpoint; the variable GOVC_URL");
        let user = refused(&[("GOVC_URL", "vc.example"), ("GOVC_PASSWORD", "secret")]);
        assert_eq!(user, "there is a user for vc.example in none of these places: the variable GOVC_USERNAME; the variable GOVC_URL");
        assert!(refused(&[("GOVC_URL", "me@vc.example")]).contains("a password for vc.example"));
        for bad in ["https://me:secret/more@vc", "https://me:secret#more@vc", "ftp://me:secret@vc", "me:secret@v c", "me:secret@"] {
            refused(&[("GOVC_URL", bad)]);
        }
    }

    #[test]
    fn certificates_are_those_of_the_variables() {
        let list = env::join_paths(["a.pem", "b.pem"]).unwrap();
        let chain = chain(&[("GOVC_INSECURE", "1"), ("GOVC_TLS_CA_CERTS", list.to_str().unwrap()), ("GOVC_HOST", "h")]);
        assert!(chain.is_insecure().unwrap() && chain.place("GOVC_HOST").unwrap().unwrap() == "h");
        assert_eq!(chain.authorities().unwrap(), [PathBuf::from("a.pem"), PathBuf::from("b.pem")]);
    }
}
