//! Resource limits: `NAME,SOFT,HARD`.

use super::Text;
use crate::error::{Error, Result};
use formats::tree::ShowPath;
use serde_json::{Value, json};

/// Those of Linux (`setrlimit(2)`).
const NAMES: [&str; 16] = [
    "CPU",
    "FSIZE",
    "DATA",
    "STACK",
    "CORE",
    "RSS",
    "NPROC",
    "NOFILE",
    "MEMLOCK",
    "AS",
    "LOCKS",
    "SIGPENDING",
    "MSGQUEUE",
    "NICE",
    "RTPRIO",
    "RTTIME",
];

/// The limits of a list, in its order.
///
/// # Errors
/// When one is malformed or its name unknown.
pub(super) fn all(list: &[Text]) -> Result<Value> {
    list.iter().map(|text| read(text).map_err(|error| error.at(format!("limit '{}'", ShowPath(text.as_bytes()))).at(&text.at))).collect()
}

fn read(text: &str) -> Result<Value> {
    let parts: Vec<_> = text.splitn(3, ',').map(str::trim).collect();
    let [name, soft, hard] = parts[..] else {
        return Err(Error::bad_input("it must be NAME,SOFT,HARD").hint("for example nofile,1024,unlimited"));
    };
    let upper = name.to_ascii_uppercase();
    let known = NAMES.into_iter().find(|known| *known == upper.strip_prefix("RLIMIT_").unwrap_or(&upper));
    let known = known.ok_or_else(|| Error::bad_input(format!("its name must be one of {}", NAMES.join(", "))))?;
    Ok(json!({"type": format!("RLIMIT_{known}"), "hard": number(hard)?, "soft": number(soft)?}))
}

fn number(text: &str) -> Result<u64> {
    if text.eq_ignore_ascii_case("unlimited") {
        return Ok(u64::MAX);
    }
    let digits = Some(text).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|text| text.parse().ok());
    number.ok_or_else(|| Error::bad_input(format!("'{}' must be a number below 2^64, or unlimited", ShowPath(text.as_bytes()))))
}
