//! Azure: what opens a storage account, and tokens for everything else.
//!
//! | place | what it is | opens |
//! |---|---|---|
//! | a connection string | `AZURE_STORAGE_CONNECTION_STRING` | its storage account |
//! | a key | `AZURE_STORAGE_KEY`, of `AZURE_STORAGE_ACCOUNT` where that is set | a storage account |
//! | a shared access signature | `AZURE_STORAGE_SAS_TOKEN` | what it says |
//! | a client's secret | `AZURE_TENANT_ID`, `AZURE_CLIENT_ID`, `AZURE_CLIENT_SECRET` | everything |
//! | a workload's identity | the same with `AZURE_FEDERATED_TOKEN_FILE` | everything |
//! | a managed identity | `IDENTITY_ENDPOINT` and `IDENTITY_HEADER`, else a machine's metadata service | everything |
//! | the user's login | `az account get-access-token` | everything |

use super::{
    Secret, Variables,
    chain::{Found, Lasting, Looked, first, look},
    environment::Environment,
    program,
    server::{Ask, Said, access_token, field, nearby, number},
};
use crate::{
    clock::Clock,
    dates,
    http::Http,
    sign::azure::Key,
    url::{Url, decoded, encoded},
};
use formats::{At, Error, Result};
use serde_json::Value;
use std::{fs, process::Command, time::Duration};

/// For blobs.
pub(crate) const STORAGE: &str = "https://storage.azure.com/";
/// For the resource manager.
pub(crate) const MANAGEMENT: &str = "https://management.azure.com/";

/// Everything that is read of the environment.
const VARIABLES: &[&str] = &[
    "AZURE_AUTHORITY_HOST",
    "AZURE_CLIENT_CERTIFICATE_PATH",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    "AZURE_STORAGE_ACCOUNT",
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_TENANT_ID",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "PATH",
];

/// The account and the key of every emulator, which Azure's documentation names.
const EMULATED: (&str, &str, &str) = (
    "devstoreaccount1",
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
    "http://127.0.0.1:10000/devstoreaccount1",
);

/// With what a storage account is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Login {
    /// A query that goes with every URL, without its `?`.
    Sas(Secret),
    SharedKey(Key),
    /// A token.
    Bearer(Secret),
}

/// Looks for a login, and keeps tokens while they are good.
#[derive(Debug)]
pub(crate) struct Chain {
    env: Environment,
    /// By what they are for.
    tokens: Lasting<Secret>,
}

impl Chain {
    /// Nothing is looked at yet but the environment.
    pub(crate) fn new(env: Variables<'_>) -> Self {
        Self { env: Environment::new(env, VARIABLES), tokens: Lasting::new() }
    }

    /// The storage account that is meant where none is named.
    ///
    /// # Errors
    /// Bad input: a variable is broken.
    pub(crate) fn account(&self) -> Result<Option<String>> {
        let of_string = self.connection()?.and_then(|connection| connection.account);
        Ok(self.env.text("AZURE_STORAGE_ACCOUNT")?.map(str::to_owned).or(of_string))
    }

    /// Where the blobs of an account are, when a connection string says so.
    ///
    /// # Errors
    /// Bad input: it is broken.
    pub(crate) fn endpoint(&self, account: &str) -> Result<Option<Url>> {
        let Some(connection) = self.connection()?.filter(|connection| connection.is_of(account)) else { return Ok(None) };
        connection.endpoint(account).map(|url| Url::parse(&url).at(|| CONNECTION)).transpose()
    }

    /// What opens a storage account now and for some minutes more.
    ///
    /// # Errors
    /// Bad input: no place has anything, or something that is broken. Remote: a server that should give a token fails.
    pub(crate) fn storage(&self, http: &Http, clock: &dyn Clock, account: &str) -> Result<Login> {
        let places: [&dyn Fn() -> Result<Looked<Login>>; 3] =
            [&|| self.of_connection(account), &|| self.of_key(account), &|| self.of_sas(account)];
        let found = match look(&places)? {
            Looked::Found(found) => found,
            Looked::Nothing(before) => {
                let what = format!("there is a login for the storage account {account}");
                return self.token_or(http, clock, STORAGE, &what, KEY, &before).map(Login::Bearer);
            }
        };
        match found.until.and_then(|until| clock.now().checked_sub(until)) {
            Some(late) => Err(Error::bad_input(format!("has a signature that ended {} s ago", late.as_secs())).at(found.from)),
            None => Ok(found.value),
        }
    }

    /// A token for a resource: [`STORAGE`], [`MANAGEMENT`].
    ///
    /// # Errors
    /// As [`Chain::storage`].
    pub(crate) fn token(&self, http: &Http, clock: &dyn Clock, resource: &str) -> Result<Secret> {
        self.token_or(http, clock, resource, "there is a token of Azure", LOG_IN, "")
    }

    /// A token, where `before` was looked for something else already.
    fn token_or(&self, http: &Http, clock: &dyn Clock, resource: &str, what: &str, hint: &str, before: &str) -> Result<Secret> {
        self.tokens.get(resource, clock, || {
            let asked = clock.now();
            let places: [&dyn Fn() -> Result<Looked<Secret>>; 5] = [
                &|| Ok(Looked::Nothing(before.to_owned())),
                &|| self.of_client(http, asked, resource),
                &|| self.of_service(http, asked, resource),
                &|| self.of_machine(http, asked, resource),
                &|| self.of_user(resource, asked),
            ];
            first(what, hint, &places)
        })
    }

    /// The next token is asked for anew: this one was refused.
    pub(crate) fn forget(&self) {
        self.tokens.forget();
    }

    fn connection(&self) -> Result<Option<Connection>> {
        self.env.text(CONNECTION)?.map(|text| Connection::parse(text).at(|| CONNECTION)).transpose()
    }

    fn of_connection(&self, account: &str) -> Result<Looked<Login>> {
        let from = CONNECTION.to_owned();
        let Some(connection) = self.connection()? else { return Ok(Looked::Nothing(format!("the variable {from}"))) };
        if !connection.is_of(account) {
            let other = connection.account.unwrap_or_default();
            return Ok(Looked::Nothing(format!("the variable {from} (which is of the account {other})")));
        }
        match (connection.key, connection.sas) {
            (Some(key), _) => {
                let value = Login::SharedKey(Key::new(account, key.told()).at(|| &from)?);
                Ok(Looked::Found(Found { value, until: None, from }))
            }
            (None, Some(sas)) => shared_access(sas.told(), from).map(Looked::Found),
            (None, None) => Err(Error::bad_input("has neither AccountKey nor SharedAccessSignature").at(from)),
        }
    }

    fn of_key(&self, account: &str) -> Result<Looked<Login>> {
        let from = "AZURE_STORAGE_KEY".to_owned();
        let key = match self.of_account("AZURE_STORAGE_KEY", account)? {
            Ok(key) => key,
            Err(why) => return Ok(Looked::Nothing(why)),
        };
        let value = Login::SharedKey(Key::new(account, key).at(|| &from)?);
        Ok(Looked::Found(Found { value, until: None, from }))
    }

    fn of_sas(&self, account: &str) -> Result<Looked<Login>> {
        let name = "AZURE_STORAGE_SAS_TOKEN";
        Ok(match self.of_account(name, account)? {
            Ok(sas) => Looked::Found(shared_access(sas, name.to_owned())?),
            Err(why) => Looked::Nothing(why),
        })
    }

    /// A variable, unless the account that stands beside it is another one; or why there is none.
    fn of_account(&self, name: &str, account: &str) -> Result<Result<&str, String>> {
        let other = self.env.text("AZURE_STORAGE_ACCOUNT")?.filter(|other| *other != account);
        Ok(match (self.env.text(name)?, other) {
            (Some(_), Some(other)) => Err(format!("the variable {name} (which is of the account {other})")),
            (Some(value), None) => Ok(value),
            (None, _) => Err(format!("the variable {name}")),
        })
    }

    /// A client that has a secret, or a token of another identity.
    fn of_client(&self, http: &Http, asked: Duration, resource: &str) -> Result<Looked<Secret>> {
        let names = ["AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"];
        let [tenant, client, secret] = names.map(|name| self.env.text(name));
        let (tenant, client, secret) = (tenant?, client?, secret?);
        let file = self.env.path("AZURE_FEDERATED_TOKEN_FILE");
        let (Some(tenant), Some(client), true) = (tenant, client, secret.is_some() || file.is_some()) else {
            if secret.is_some() || file.is_some() {
                return Err(Error::bad_input("there is a secret of a client of Azure, but not both AZURE_TENANT_ID and AZURE_CLIENT_ID"));
            }
            if self.env.path("AZURE_CLIENT_CERTIFICATE_PATH").is_some() {
                let error = Error::unsupported("AZURE_CLIENT_CERTIFICATE_PATH: moby does not log in by certificate");
                return Err(error.hint("a secret is taken: AZURE_CLIENT_SECRET"));
            }
            return Ok(Looked::Nothing("the variables AZURE_CLIENT_SECRET and AZURE_FEDERATED_TOKEN_FILE".to_owned()));
        };
        let mut form = format!("grant_type=client_credentials&client_id={}&scope={}", encoded(client), encoded(&scope(resource)));
        let from = match (secret, file) {
            (Some(secret), _) => {
                form += &format!("&client_secret={}", encoded(secret));
                "AZURE_CLIENT_SECRET".to_owned()
            }
            (None, file) => {
                let file = file.unwrap_or_default();
                let token = fs::read_to_string(&file).at(|| file.display()).at(|| "AZURE_FEDERATED_TOKEN_FILE")?;
                const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
                form += &format!("&client_assertion_type={}&client_assertion={}", encoded(TYPE), encoded(token.trim()));
                "AZURE_FEDERATED_TOKEN_FILE".to_owned()
            }
        };
        let authority = self.env.text("AZURE_AUTHORITY_HOST")?.unwrap_or("https://login.microsoftonline.com");
        let authority = if authority.contains("://") { authority.to_owned() } else { format!("https://{authority}") };
        let url = format!("{}/{}/oauth2/v2.0/token", authority.trim_end_matches('/'), encoded(tenant));
        let url = Url::parse(&url).at(|| "AZURE_AUTHORITY_HOST")?;
        let said = Ask::post(&url, &form).json(http).at(|| &from)?;
        access_token(&said, &url, asked, &from)
    }

    /// The identity of an application that Azure runs.
    fn of_service(&self, http: &Http, asked: Duration, resource: &str) -> Result<Looked<Secret>> {
        let from = "IDENTITY_ENDPOINT".to_owned();
        let (Some(endpoint), Some(header)) = (self.env.text(&from)?, self.env.text("IDENTITY_HEADER")?) else {
            return Ok(Looked::Nothing("the variables IDENTITY_ENDPOINT and IDENTITY_HEADER".to_owned()));
        };
        let url = Url::parse(&format!("{endpoint}?api-version=2019-08-01&{}", self.wanted(resource)?)).at(|| &from)?;
        let said = Ask::get(&url, &[("x-identity-header", header.to_owned())]).json(&nearby(http)).at(|| &from)?;
        access_token(&said, &url, asked, &from)
    }

    /// The identity of a machine.
    fn of_machine(&self, http: &Http, asked: Duration, resource: &str) -> Result<Looked<Secret>> {
        let variable = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
        let host = self.env.text(variable)?.unwrap_or("http://169.254.169.254").trim_end_matches('/');
        let url = format!("{host}/metadata/identity/oauth2/token?api-version=2018-02-01&{}", self.wanted(resource)?);
        let (url, http) = (Url::parse(&url).at(|| variable)?, nearby(http));
        let headers = [("metadata", "true".to_owned())];
        let ask = Ask::get(&url, &headers);
        let place = "the metadata service of Azure";
        let why = match ask.knock(&http, "") {
            Ok(Said { status: 200, body, .. }) => match serde_json::from_slice(&body) {
                Ok(said) => return access_token(&said, &url, asked, place),
                Err(_) => format!("{} is something else", url.authority()),
            },
            // No identity, and other clouds' services at the same address.
            Ok(Said { status: status @ (400 | 401 | 403 | 404 | 405), .. }) => format!("{} gives no token: {status}", url.authority()),
            Ok(_) => return access_token(&ask.json(&http).at(|| place)?, &url, asked, place),
            Err(why) => why,
        };
        Ok(Looked::Nothing(format!("{place} ({why})")))
    }

    /// What Azure's own program has.
    fn of_user(&self, resource: &str, asked: Duration) -> Result<Looked<Secret>> {
        let mut command = Command::new("az");
        if let Some(path) = self.env.path("PATH") {
            command.env("PATH", path);
        }
        command.args(["account", "get-access-token", "--output", "json", "--resource", resource]);
        let from = "`az account get-access-token`";
        let said = match program::run(command, "", from) {
            Ok((status, said)) if status.success() => said,
            Ok((status, _)) => return Ok(Looked::Nothing(format!("{from} ({status})"))),
            Err(error) => return Ok(Looked::Nothing(error.to_string())),
        };
        let said: Value =
            serde_json::from_slice(&said).map_err(|_| Error::bad_input(format!("{from} prints something that is no JSON")))?;
        let lacks = || Error::bad_input(format!("{from} prints JSON that has no token"));
        let token = field(&said, "accessToken").ok_or_else(lacks)?;
        // Older ones say when it ends in local time alone: then it is asked for again soon.
        let until = number(&said, "expires_on").map_or(asked + Duration::from_secs(300), Duration::from_secs);
        Ok(Looked::Found(Found { value: Secret::new(token), until: Some(until), from: from.to_owned() }))
    }

    /// What is asked of a managed identity, which may be one of several.
    fn wanted(&self, resource: &str) -> Result<String> {
        let client = self.env.text("AZURE_CLIENT_ID")?.map(|client| format!("&client_id={}", encoded(client)));
        Ok(format!("resource={}{}", encoded(resource), client.unwrap_or_default()))
    }
}

const CONNECTION: &str = "AZURE_STORAGE_CONNECTION_STRING";

/// What helps where there is no token.
const LOG_IN: &str = "`az login` logs in; where there is no browser, AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET do";

/// The simplest for a storage account.
const KEY: &str = "a key is the simplest: AZURE_STORAGE_KEY, as `az storage account keys list --account-name ACCOUNT` prints it";

/// A resource as the newer token servers know it.
fn scope(resource: &str) -> String {
    format!("{}/.default", resource.trim_end_matches('/'))
}

/// A shared access signature, which says itself when it ends.
fn shared_access(sas: &str, from: String) -> Result<Found<Login>> {
    let sas = sas.trim().trim_start_matches('?');
    if !sas.contains("sig=") || !sas.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::bad_input("is no shared access signature, must be as sv=...&se=...&sig=...").at(from));
    }
    let until = sas.split('&').find_map(|pair| pair.strip_prefix("se=")).and_then(|text| dates::of_rfc3339(&decoded(text)));
    Ok(Found { value: Login::Sas(Secret::new(sas)), until, from })
}

/// What a connection string says.
#[derive(Debug, Default)]
struct Connection {
    account: Option<String>,
    key: Option<Secret>,
    sas: Option<Secret>,
    endpoint: Option<String>,
    protocol: Option<String>,
    suffix: Option<String>,
}

impl Connection {
    /// `NAME=VALUE;NAME=VALUE`.
    fn parse(text: &str) -> Result<Self> {
        let mut connection = Self::default();
        for (number, pair) in text.split(';').map(str::trim).filter(|pair| !pair.is_empty()).enumerate() {
            // What it says is not shown: it may be the key.
            let (name, value) = pair.split_once('=').ok_or_else(|| Error::bad_input(format!("part {} is not NAME=VALUE", number + 1)))?;
            let text = Some(value.to_owned());
            match name.to_ascii_lowercase().as_str() {
                "accountname" => connection.account = text,
                "accountkey" => connection.key = Some(Secret::new(value)),
                "sharedaccesssignature" => connection.sas = Some(Secret::new(value)),
                "blobendpoint" => connection.endpoint = text,
                "defaultendpointsprotocol" => connection.protocol = text,
                "endpointsuffix" => connection.suffix = text,
                "usedevelopmentstorage" if value.eq_ignore_ascii_case("true") => {
                    let (account, key, endpoint) = EMULATED;
                    connection.account = Some(account.to_owned());
                    (connection.key, connection.endpoint) = (Some(Secret::new(key)), Some(endpoint.to_owned()));
                }
                _ => {}
            }
        }
        Ok(connection)
    }

    /// Whether it is for an account; one without a name is for any.
    fn is_of(&self, account: &str) -> bool {
        self.account.as_deref().is_none_or(|own| own == account)
    }

    fn endpoint(&self, account: &str) -> Option<String> {
        if let Some(endpoint) = &self.endpoint {
            return Some(endpoint.clone());
        }
        let suffix = self.suffix.as_ref()?;
        Some(format!("{}://{account}.blob.{suffix}", self.protocol.as_deref().unwrap_or("https")))
    }
}

#[cfg(test)]
mod tests;
