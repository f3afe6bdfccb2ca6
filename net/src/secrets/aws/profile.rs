//! AWS's shared files: `config` with `[default]`, `[profile NAME]` and `[services NAME]`, `credentials` with `[NAME]`.
//!
//! A value may have others in it, which are indented: `s3 =` and, below, `  endpoint_url = URL` is read as `s3.endpoint_url`.

use super::super::{Secret, environment::Environment};
use formats::{At, Error, Result};
use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

/// What both files say of one profile; the credentials file comes first. Each value may be a secret.
#[derive(Clone, Debug, Default)]
pub(super) struct Profile(HashMap<String, Secret>);

impl Profile {
    /// A value that is there and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(Secret::told).filter(|value| !value.is_empty())
    }
}

/// Both files.
#[derive(Debug)]
pub(super) struct Profiles {
    /// Whose credentials are used unless another one is named.
    pub(super) chosen: String,
    profiles: HashMap<String, Profile>,
    /// What profiles share about services, by the name that they call it.
    services: HashMap<String, Profile>,
    /// The files, for messages.
    searched: String,
}

impl Profiles {
    /// Reads what the environment names.
    ///
    /// # Errors
    /// Bad input: a file is broken, or the environment names a profile that is in none.
    pub(super) fn read(env: &Environment) -> Result<Self> {
        let named = match env.text("AWS_PROFILE")? {
            Some(name) => Some(name),
            None => env.text("AWS_DEFAULT_PROFILE")?,
        };
        let path = |variable: &str, below: &str| env.path(variable).or_else(|| env.in_home(below));
        let files = [("AWS_CONFIG_FILE", ".aws/config"), ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials")];
        let [config, credentials] = files.map(|(variable, below)| path(variable, below));
        let (mut profiles, mut services) = (HashMap::new(), HashMap::new());
        let config_sections = config.as_deref().map(sections).transpose()?.unwrap_or_default();
        for (section, values) in config_sections {
            let named = |kind: &str| section.strip_prefix(kind).filter(|rest| rest.starts_with([' ', '\t'])).map(unquoted);
            if let Some(name) = named("services") {
                add(&mut services, name, values);
            } else if let Some(name) = named("profile").or_else(|| (section == "default").then_some("default")) {
                add(&mut profiles, name, values);
            }
        }
        for (section, values) in credentials.as_deref().map(sections).transpose()?.unwrap_or_default() {
            add(&mut profiles, &section, values);
        }
        let found = Self { chosen: named.unwrap_or("default").to_owned(), profiles, services, searched: shown(&[config, credentials]) };
        if named.is_some() {
            found.get(&found.chosen)?;
        }
        Ok(found)
    }

    /// A profile by its name.
    ///
    /// # Errors
    /// Bad input: no file has it.
    pub(super) fn get(&self, name: &str) -> Result<&Profile> {
        self.profiles.get(name).ok_or_else(|| Error::bad_input(format!("{} has no such profile", self.place(name))))
    }

    /// The profile that counts where there is one.
    pub(super) fn chosen(&self) -> Option<&Profile> {
        self.profiles.get(&self.chosen)
    }

    /// Where the chosen profile has a service, `s3` for one, or all of them.
    ///
    /// # Errors
    /// Bad input: it names a section of services that is not there.
    pub(super) fn endpoint(&self, service: &str) -> Result<Option<&str>> {
        let Some(profile) = self.chosen() else { return Ok(None) };
        let missing = |name| Error::bad_input(format!("services is '{name}', but there is no [services {name}]"));
        let shared = profile.get("services").map(|name| self.services.get(name).ok_or_else(|| missing(name))).transpose()?;
        let own = shared.and_then(|shared| shared.get(&format!("{service}.endpoint_url")));
        Ok(own.or_else(|| profile.get("endpoint_url")))
    }

    /// A profile in words.
    pub(super) fn place(&self, name: &str) -> String {
        format!("the profile '{name}' of {}", self.searched)
    }
}

/// Files in words.
fn shown(files: &[Option<PathBuf>]) -> String {
    let files: Vec<_> = files.iter().flatten().map(|file| file.display().to_string()).collect();
    if files.is_empty() { "no file, for there is no HOME".to_owned() } else { files.join(" and ") }
}

/// What is said later counts.
fn add(profiles: &mut HashMap<String, Profile>, name: &str, values: Profile) {
    profiles.entry(name.to_owned()).or_default().0.extend(values.0);
}

fn unquoted(name: &str) -> &str {
    let name = name.trim();
    ['"', '\''].iter().find_map(|quote| name.strip_prefix(*quote)?.strip_suffix(*quote)).unwrap_or(name)
}

/// The sections of a file, in order; of none there are none.
fn sections(path: &Path) -> Result<Vec<(String, Profile)>> {
    match fs::read_to_string(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        text => text.map_err(Error::from).and_then(|text| parsed(&text)).at(|| path.display()),
    }
}

fn parsed(text: &str) -> Result<Vec<(String, Profile)>> {
    let mut sections: Vec<(String, Profile)> = Vec::new();
    let mut around = None;
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        // What the line says is not shown: it may be a secret.
        let broken = |what: &str| Error::bad_input(format!("line {}: {what}", number + 1));
        if let Some(name) = line.strip_prefix('[') {
            let (name, _) = name.split_once(']').ok_or_else(|| broken("a section without its ]"))?;
            sections.push((name.trim().to_owned(), Profile::default()));
            around = None;
            continue;
        }
        let is_inside = line.starts_with([' ', '\t']);
        let Some((name, value)) = line.split_once(['=', ':']) else {
            // What goes on with a value that has several lines is for others.
            if is_inside && around.is_some() {
                continue;
            }
            return Err(broken("is neither [SECTION] nor NAME = VALUE"));
        };
        let (_, values) = sections.last_mut().ok_or_else(|| broken("a value before the first [SECTION]"))?;
        let name = name.trim().to_ascii_lowercase();
        let name = match &around {
            Some(around) if is_inside => format!("{around}.{name}"),
            _ => {
                around = Some(name.clone());
                name
            }
        };
        values.0.insert(name, Secret::new(value.trim()));
    }
    Ok(sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_as_the_vendor_does() {
        let text = "# comment\n[default]\nRegion: a\ns3 =\n  region = nested\n\n; other\n[profile x y] \naws_secret_access_key = a=b # c \n[default]\nregion = b\n";
        let sections = parsed(text).unwrap();
        let names: Vec<_> = sections.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["default", "profile x y", "default"]);
        assert_eq!((sections[0].1.get("region"), sections[0].1.get("s3.region")), (Some("a"), Some("nested")));
        assert_eq!(sections[1].1.get("aws_secret_access_key"), Some("a=b # c"));
        assert_eq!((unquoted(" \"x y\""), unquoted("'x'"), unquoted(" x ")), ("x y", "x", "x"));
    }

    #[test]
    fn what_is_broken_is_named_by_its_line_alone() {
        for (text, words) in [
            ("[default]\ngeheim", "line 2: is neither [SECTION] nor NAME = VALUE"),
            ("geheim = geheim", "line 1: a value before the first [SECTION]"),
            ("\n[geheim", "line 2: a section without its ]"),
        ] {
            assert_eq!(parsed(text).unwrap_err().to_string(), words);
        }
    }
}
