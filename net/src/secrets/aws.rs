//! Temporary.
use crate::{clock::Clock, http::Http, secret::Secret, sign::aws::Key};
use formats::{Error, Result};
use std::{ffi::OsString, sync::Arc};

type Vars = Arc<dyn Fn(&str) -> Option<OsString> + Send + Sync>;
pub(crate) struct Chain(Vars);
impl Chain {
    pub(crate) fn new(v: Vars) -> Self {
        Self(v)
    }
    fn get(&self, n: &str) -> Option<String> {
        (self.0)(n).and_then(|v| v.into_string().ok())
    }
    pub(crate) fn key(&self, _: &Http, _: &dyn Clock) -> Result<Key> {
        let e = || Error::bad_input("no credentials");
        Ok(Key {
            id: self.get("AWS_ACCESS_KEY_ID").ok_or_else(e)?,
            secret: Secret::new(self.get("AWS_SECRET_ACCESS_KEY").ok_or_else(e)?),
            token: None,
        })
    }
    pub(crate) fn region(&self, _: &Http, _: &dyn Clock) -> Result<String> {
        Ok(self.get("AWS_REGION").unwrap_or("us-east-1".into()))
    }
    pub(crate) fn forget(&self) {}
}
