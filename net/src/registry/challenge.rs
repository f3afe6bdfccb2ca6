//! `WWW-Authenticate`: how a server wants to be logged in to (RFC 9110, 11.6.1; Docker's token specification).

/// One way to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// With a token of a token server.
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
    /// With user and password.
    Basic,
    /// In a way that we do not know, by its name.
    Other(String),
}

/// Every challenge of some headers; what is malformed ends its header.
pub(super) fn challenges<'a>(headers: impl Iterator<Item = &'a str>) -> Vec<Challenge> {
    headers.flat_map(of_header).collect()
}

fn of_header(header: &str) -> Vec<Challenge> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut rest = header.trim_start_matches([' ', ',']);
    while !rest.is_empty() {
        let word = rest.find([' ', '=', ',']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(word);
        if let Some(value) = after.trim_start().strip_prefix('=').filter(|_| !found.is_empty() && !name.is_empty()) {
            let Some((value, after)) = value_of(value.trim_start()) else { break };
            if let Some((_, parameters)) = found.last_mut() {
                parameters.push((name.to_ascii_lowercase(), value));
            }
            rest = after;
        } else if name.is_empty() {
            break;
        } else {
            found.push((name.to_ascii_lowercase(), Vec::new()));
            rest = after;
        }
        rest = rest.trim_start_matches([' ', ',']);
    }
    found.into_iter().map(|(scheme, parameters)| of_scheme(scheme, &parameters)).collect()
}

fn of_scheme(scheme: String, parameters: &[(String, String)]) -> Challenge {
    let get = |name: &str| parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone()).filter(|value| !value.is_empty());
    match scheme.as_str() {
        "basic" => Challenge::Basic,
        "bearer" => match get("realm") {
            Some(realm) => Challenge::Bearer { realm, service: get("service"), scope: get("scope") },
            None => Challenge::Other("bearer without a realm".to_owned()),
        },
        _ => Challenge::Other(scheme),
    }
}

/// A token or a quoted string, and what comes after it.
fn value_of(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, after) = text.split_at(text.find([' ', ',']).unwrap_or(text.len()));
        return Some((value.to_owned(), after));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer { realm: realm.to_owned(), service: service.map(String::from), scope: scope.map(String::from) }
    }

    #[test]
    fn challenges_are_read() {
        let of = |header| challenges([header].into_iter());
        let whole = r#"Bearer realm="https://auth.example/token?a=b",service="reg",scope="repository:a/b:pull,push""#;
        assert_eq!(of(whole), [bearer("https://auth.example/token?a=b", Some("reg"), Some("repository:a/b:pull,push"))]);
        assert_eq!(of(r#"bEARER  Realm = "x" , scope=y"#), [bearer("x", None, Some("y"))]);
        assert_eq!(of(r#"Basic realm="a \"b\", c", Bearer realm=x"#), [Challenge::Basic, bearer("x", None, None)]);
        assert_eq!(of("Negotiate, Basic"), [Challenge::Other("negotiate".to_owned()), Challenge::Basic]);
        assert_eq!(of(r#"Bearer service="x""#), [Challenge::Other("bearer without a realm".to_owned())]);
        assert_eq!(challenges(["Basic", "Negotiate"].into_iter()).len(), 2);
        for odd in ["", ",", "=", "= x", r#"Bearer realm="x"#, r#"Bearer realm="x\"#] {
            assert!(of(odd).iter().all(|challenge| matches!(challenge, Challenge::Other(_))), "{odd}");
        }
    }
}
