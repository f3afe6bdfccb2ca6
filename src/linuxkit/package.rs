//! `@pkg:DIR`: the image of a package, which is named after what git knows of its directory.
//!
//! What only git knows is asked of git; outside of a work tree, or without git, the tag is `latest`.

use super::reference;
use super::yaml::{self, Value};
use crate::error::{At, Error, Result};
use formats::{Kind, units::hex};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io};

/// The image of the package in a directory, which is relative to that of the yml.
///
/// # Errors
/// No `build.yml`, or a wrong one; what git refuses.
pub(crate) fn resolve(base: &Path, directory: &str) -> Result<String> {
    let directory = absolute(&base.join(directory))?;
    let file = directory.join("build.yml");
    let shown = file.display().to_string();
    let text = fs::read(&file).map_err(Error::from).at(|| &shown)?;
    let node = yaml::parse(&shown, &text)?;
    let field = |key: &str| match node.get(key).map(|node| &node.value) {
        Some(Value::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    let image = field("image").filter(|image| !image.is_empty()).ok_or_else(|| Error::bad_input("'image' is missing").at(&shown))?;
    let sources = match node.get("extra-sources").map(|node| &node.value) {
        Some(Value::List(nodes)) => nodes.iter().map(|node| source(&directory, &node.value).at(|| &node.at)).collect::<Result<_>>()?,
        _ => Vec::new(),
    };
    let tag = tag(&directory, &sources)?.unwrap_or_else(|| "latest".to_owned());
    Ok(reference::expand(&format!("{}/{image}:{tag}", field("org").unwrap_or("linuxkit"))))
}

/// The directory of `DIR:WHERE`.
fn source(directory: &Path, value: &Value) -> Result<PathBuf> {
    let wrong = || Error::bad_input(format!("{value}, must be a directory, ':' and a path"));
    let Value::Text(text) = value else { return Err(wrong()) };
    match text.split(':').collect::<Vec<_>>()[..] {
        [source, _] => absolute(&directory.join(source)),
        _ => Err(wrong()),
    }
}

/// Without dots, and without following links: git is asked for the path that was written.
fn absolute(path: &Path) -> Result<PathBuf> {
    let mut whole = env::current_dir()?;
    for part in path.components() {
        match part {
            Component::ParentDir => drop(whole.pop()),
            Component::CurDir => {}
            part => whole.push(part),
        }
    }
    Ok(whole)
}

/// What git says of a directory; `None` where it is in no work tree.
fn tag(directory: &Path, sources: &[PathBuf]) -> Result<Option<String>> {
    let trees = sources.iter().map(|source| Git { directory: source.clone() }.tree(source)).collect::<Result<String>>()?;
    let Some(git) = Git::open(directory)? else { return Ok(None) };
    let mut tag = git.tree(directory)?;
    if !sources.is_empty() {
        tag = hex(&Sha1::digest(format!("{tag}{trees}")));
    }
    if git.is_dirty()? {
        let digest = git.content()?;
        tag = format!("{tag}-dirty-{}", &digest[..7]);
    }
    Ok(Some(tag))
}

/// Git, in a directory.
struct Git {
    directory: PathBuf,
}

impl Git {
    /// `None` where there is no work tree.
    fn open(directory: &Path) -> Result<Option<Self>> {
        let git = Self { directory: directory.to_owned() };
        let (is_right, _) = git.run(&["rev-parse", "--is-inside-work-tree"])?;
        Ok(is_right.then_some(git))
    }

    /// Whether it ended well, and what it said.
    fn run(&self, arguments: &[&str]) -> Result<(bool, String)> {
        let output = Command::new("git").arg("-C").arg(&self.directory).args(arguments).stdin(Stdio::null()).output();
        let output = output.map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::new(Kind::Environment, "there is no program git, which knows the tags of packages"),
            _ => e.into(),
        })?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
    }

    fn ask(&self, arguments: &[&str]) -> Result<String> {
        match self.run(arguments)? {
            (true, answer) => Ok(answer),
            (false, _) => Err(Error::bad_input(format!("git {} fails in {}", arguments.join(" "), self.directory.display()))),
        }
    }

    /// The hash of a directory as it was committed.
    fn tree(&self, directory: &Path) -> Result<String> {
        let path = directory.to_str().ok_or_else(|| Error::unsupported(format!("{} is not UTF-8", directory.display())))?;
        if self.ask(&["rev-parse", "--prefix", path, "--show-toplevel"])?.trim() == path {
            return Ok(self.ask(&["show", "--format=%T", "-s", "HEAD"])?.trim().to_owned());
        }
        // `040000 tree HASH<tab>PATH`
        let answer = self.ask(&["ls-tree", "--full-tree", "HEAD", "--", path])?;
        let hash = answer.split_whitespace().nth(2);
        hash.map(str::to_owned).ok_or_else(|| Error::bad_input(format!("{path} is not committed to git")))
    }

    /// Whether anything below is not as it was committed, or new.
    fn is_dirty(&self) -> Result<bool> {
        let (is_same, _) = self.run(&["diff", "--no-ext-diff", "--exit-code", "--quiet", "HEAD", "--", "."])?;
        let (has_more, _) = self.run(&["ls-files", "--exclude-standard", "--others", "--error-unmatch", "--", "."])?;
        Ok(!is_same || has_more)
    }

    /// The hash over all the files, one after the other, as they are now.
    fn content(&self) -> Result<String> {
        let mut hash = Sha256::new();
        for arguments in [&["ls-files"][..], &["ls-files", "--exclude-standard", "--others"]] {
            for file in self.ask(arguments)?.lines().filter(|line| !line.is_empty()) {
                let path = self.directory.join(file);
                // What cannot be read is left out, names that git puts in quotes among it.
                let is_file = path.symlink_metadata().is_ok_and(|about| !about.is_dir() && !about.is_symlink());
                if let Some(bytes) = is_file.then(|| fs::read(&path).ok()).flatten() {
                    hash.update(bytes);
                }
            }
        }
        Ok(hex(&hash.finalize()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(directory: &Path, arguments: &[&str]) -> String {
        let who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"];
        let output = Command::new("git").arg("-C").arg(directory).args(who).args(arguments).output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// `pkg` and `src`, committed.
    fn repository(build: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("pkg")).unwrap();
        fs::create_dir_all(root.path().join("src")).unwrap();
        fs::write(root.path().join("pkg/build.yml"), build).unwrap();
        fs::write(root.path().join("src/a"), "a").unwrap();
        git(root.path(), &["init", "-q"]);
        git(root.path(), &["add", "."]);
        git(root.path(), &["commit", "-q", "-m", "a"]);
        root
    }

    #[test]
    fn the_tag_is_the_tree_of_the_directory() {
        let root = repository("org: lab\nimage: thing\ntag: ignored\n");
        let tree = git(root.path(), &["rev-parse", "HEAD:pkg"]);
        assert_eq!(resolve(root.path(), "./pkg").unwrap(), format!("docker.io/lab/thing:{tree}"));
        assert_eq!(resolve(&root.path().join("src"), "../pkg").unwrap(), format!("docker.io/lab/thing:{tree}"));
    }

    #[test]
    fn other_sources_are_hashed_with_it() {
        let root = repository("image: thing\nextra-sources: [../src:/src]\n");
        let trees = git(root.path(), &["rev-parse", "HEAD:pkg"]) + &git(root.path(), &["rev-parse", "HEAD:src"]);
        let tag = hex(&Sha1::digest(trees));
        assert_eq!(resolve(root.path(), "pkg").unwrap(), format!("docker.io/linuxkit/thing:{tag}"));
    }

    #[test]
    fn what_is_not_committed_shows() {
        let root = repository("image: thing\n");
        let tree = git(root.path(), &["rev-parse", "HEAD:pkg"]);
        fs::write(root.path().join("pkg/new"), "new").unwrap();
        let content = hex(&Sha256::digest("image: thing\nnew"));
        assert_eq!(resolve(root.path(), "pkg").unwrap(), format!("docker.io/linuxkit/thing:{tree}-dirty-{}", &content[..7]));
        fs::remove_file(root.path().join("pkg/new")).unwrap();
        fs::write(root.path().join("pkg/build.yml"), "image: other\n").unwrap();
        assert!(resolve(root.path(), "pkg").unwrap().starts_with(&format!("docker.io/linuxkit/other:{tree}-dirty-")));
    }

    #[test]
    fn a_package_may_be_the_whole_repository_or_in_none() {
        let root = repository("image: thing\n");
        fs::write(root.path().join("build.yml"), "image: whole\n").unwrap();
        git(root.path(), &["add", "."]);
        git(root.path(), &["commit", "-q", "-m", "b"]);
        let tree = git(root.path(), &["rev-parse", "HEAD^{tree}"]);
        assert_eq!(resolve(root.path(), ".").unwrap(), format!("docker.io/linuxkit/whole:{tree}"));
        let alone = tempfile::tempdir().unwrap();
        fs::write(alone.path().join("build.yml"), "image: thing\n").unwrap();
        assert_eq!(resolve(alone.path(), "").unwrap(), "docker.io/linuxkit/thing:latest");
        fs::write(alone.path().join("build.yml"), "org: lab\n").unwrap();
        assert!(resolve(alone.path(), "").unwrap_err().to_string().ends_with("build.yml: 'image' is missing"));
        assert!(resolve(alone.path(), "nowhere").is_err());
    }
}
