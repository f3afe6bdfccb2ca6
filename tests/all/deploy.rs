//! The files of `deploy/`, each judged by the validator of its engine, which finds a planted mistake, too. None was run by the engine
//! itself here; what can be run is in `tests/nightly/engines.rs`.

use crate::support::{
    deploy::{Linter, file},
    scratch, text,
    tools::{finish, moby, tool},
};
use std::{fs, path::Path};

/// A file passes, and with the planted mistakes it does not.
#[track_caller]
fn judged(linter: Linter, path: &str, mistakes: &[(&str, &str, &str)]) {
    let directory = scratch(&format!("deploy-{}", path.replace(['/', '.'], "-")));
    let good = file(path);
    let name = Path::new(path).file_name().unwrap();
    let judge = |content: &str| {
        fs::write(directory.join(name), content).unwrap();
        linter.judge(&directory.join(name))
    };
    let found = judge(&good);
    assert_eq!(found.code(), 0, "{found}");
    for (right, wrong, said) in mistakes {
        assert_eq!(good.matches(right).count(), 1, "{path} has no single {right:?}");
        let found = judge(&good.replace(right, wrong));
        assert_ne!(found.code(), 0, "{wrong} passes: {found}");
        assert!((found.text() + &found.errors()).contains(said), "{wrong}: {found}");
    }
}

#[test]
fn the_kubernetes_job_is_one() {
    let mistakes = [("completionMode:", "completionsMode:", "completionsMode"), ("completions: 4", "completions: four", "four")];
    judged(Linter::Kubernetes, "kubernetes/job.yml", &mistakes);
}

#[test]
fn the_argo_template_is_one() {
    let mistakes = [
        ("withParam:", "withParams:", "withParams is unknown"),
        ("retryPolicy: Always", "retryPolicies: Always", "retryPolicies is unknown"),
    ];
    judged(Linter::Argo, "argo/workflow-template.yml", &mistakes);
}

#[test]
fn the_tekton_task_is_one() {
    judged(Linter::Tekton, "tekton/task.yml", &[("--run, --shard, $(params.shard)", "--run, --shard, $(params.shards)", "shards")]);
}

#[test]
fn the_github_workflow_is_one() {
    let mistakes = [("needs: plan", "needs: plans", "plans"), ("needs.plan.outputs.matrix", "needs.plan.outputs.rows", "rows")];
    judged(Linter::GithubWorkflow, "github/workflow.yml", &mistakes);
}

#[test]
fn the_github_action_is_one() {
    judged(Linter::GithubAction, "github/action.yml", &[("using: composite", "using: composit", "using")]);
}

#[test]
fn the_aws_batch_job_is_one() {
    let mistakes = [("evaluateOnExit", "evaluateOnExits", "evaluateOnExits"), ("\"attempts\": 4", "\"attempts\": \"4\"", "attempts")];
    judged(Linter::Batch, "aws-batch/job-definition.json", &mistakes);
}

#[test]
fn the_slurm_script_is_one() {
    judged(Linter::Shell, "slurm/array.sh", &[("plan \"$matrix\"", "plan $matrix", "SC2086")]);
}

/// Every manifest runs the matrix that lies beside them, and moby takes what they say.
#[test]
fn every_file_says_what_moby_takes() {
    let rows = finish(moby().args(["plan", text(&crate::support::deploy::path("matrix.toml"))])).success().text();
    assert_eq!(rows.lines().count(), 5, "{rows}");
    for path in ["kubernetes/job.yml", "argo/workflow-template.yml", "tekton/task.yml", "aws-batch/job-definition.json"] {
        let content = file(path);
        let line = content.lines().find(|line| line.contains("--run")).unwrap_or_else(|| panic!("{path} runs nothing"));
        let list = line.split_once('[').unwrap().1.trim_end().trim_end_matches([',', ']']).replace(['"', '\''], "");
        let words = list.split(", ").filter(|word| *word != "moby").map(|word| match word {
            "--run" => "--json",
            word if word.ends_with("/4") || word.contains("shard)") || word == "Ref::shard" => "1/4",
            "{{inputs.parameters.row}}" => "base-qcow2",
            word if word.contains("atrix") => "deploy/matrix.toml",
            word => word,
        });
        let words: Vec<_> = words.collect();
        let inputs = scratch(&format!("deploy-words-{}", path.replace(['/', '.'], "-")));
        ["app.tar", "base.tar"].into_iter().for_each(|name| fs::write(inputs.join(name), "").unwrap());
        let told = finish(moby().current_dir(&inputs).args(words.iter().map(|word| match *word {
            "deploy/matrix.toml" => text(&crate::support::deploy::path("matrix.toml")).to_owned(),
            word => word.to_owned(),
        })));
        let rows: serde_json::Value = serde_json::from_slice(&told.success().stdout).unwrap();
        assert_eq!(rows.as_array().unwrap().len(), 1, "{path}: {words:?}: {rows}");
    }
}

/// A script that tries again does so where that may help, and nowhere else.
#[test]
fn the_slurm_script_tries_again_what_may_go_away() {
    use std::os::unix::fs::PermissionsExt;
    let dir = scratch("deploy-tries");
    let program = |name: &str, text: &str| {
        fs::write(dir.join(name), text).unwrap();
        fs::set_permissions(dir.join(name), PermissionsExt::from_mode(0o755)).unwrap();
    };
    // Nobody waits; and a moby that fails as it is told to, but for its third try.
    program("sleep", "#!/bin/sh\n");
    program("moby", "#!/bin/sh\necho \"$@\" >> calls\n[ $(wc -l < calls) = 3 ] || exit $CODE\n");
    for (code, tries, ends) in [(0, 1, 0), (1, 1, 1), (2, 1, 2), (3, 1, 3), (4, 3, 0), (5, 3, 0), (6, 3, 0), (137, 3, 0)] {
        let mut script = tool(crate::support::deploy::path("slurm/array.sh"));
        script.current_dir(&dir).env("MOBY", "./moby").env("PATH", format!("{}:/usr/bin:/bin", text(&dir)));
        let ran = finish(script.env("CODE", code.to_string()).env("SLURM_ARRAY_TASK_ID", "2").env("SLURM_ARRAY_TASK_COUNT", "4"));
        assert_eq!(ran.code(), ends, "{code}: {ran}");
        let calls = fs::read_to_string(dir.join("calls")).unwrap();
        assert_eq!(calls, "plan matrix.toml --run --shard 2/4 --threads 1 --progress plain\n".repeat(tries), "{code}");
        fs::remove_file(dir.join("calls")).unwrap();
    }
}
