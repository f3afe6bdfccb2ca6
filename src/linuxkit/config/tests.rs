//! Merging, templates, labels, and what is warned of.

use super::*;
use crate::error::{Error, Kind};

fn parse(text: &str) -> Result<Config> {
    Config::parse("a.yml", text.as_bytes(), None)
}

fn refusal(text: &str) -> String {
    let error = parse(text).unwrap_err();
    assert_eq!(error.kind(), Kind::BadInput);
    error.to_string()
}

fn words(texts: &[Text]) -> Vec<&str> {
    texts.iter().map(|text| text.value.as_str()).collect()
}

#[test]
fn a_later_file_adds_to_lists_and_replaces_what_the_kernel_has() {
    let first = "kernel: {image: 'a/k:1', cmdline: one, tar: x}\ninit: [a/i]\nvolumes: [{name: v, readonly: true}]\ntrust: {org: [a]}";
    let later =
        "kernel: {image: '', cmdline: two, tar: ''}\ninit: [a/j]\nvolumes: [{name: v}, {name: w}]\nservices: [{name: s, image: a/s}]";
    let config = parse(first).unwrap().merge(Config::parse("b.yml", later.as_bytes(), None).unwrap()).unwrap();
    assert_eq!(config.kernel.image.as_ref().unwrap().expanded, "docker.io/a/k:1");
    assert_eq!(config.kernel.cmdline.as_ref().unwrap().value, "two");
    assert_eq!(config.kernel.tar.as_ref().unwrap().value, "", "a given text counts, even if it is empty");
    assert_eq!(config.init.iter().map(|image| image.written.value.as_str()).collect::<Vec<_>>(), ["a/i", "a/j"]);
    assert_eq!(config.volumes.len(), 3);
    assert!(!config.volume("v").unwrap().readonly, "the later one");
    assert_eq!(config.volume("w").unwrap().at.to_string(), "b.yml:3:22");
    let again = config.merge(parse("services: [{name: s, image: a/t}]").unwrap()).unwrap_err();
    assert_eq!(again.to_string(), "a.yml:1:19: the service 's' is there already, at b.yml:4:19");
}

#[test]
fn all_faults_are_told_in_the_order_of_the_file() {
    let text = "services:\n- {name: ../x, image: A, env: [1, a, true]}\n- image: a\n  net: {}\nfiles: {}\nkernel:\n  cmdlin: 5\n";
    let expected = [
        "a.yml:2:10: the name '../x' must be one part of a path",
        "a.yml:2:23: 'A' is no name of an image: it may not have 'A'",
        "a.yml:2:32: services[0].env[0]: is the number 1, must be a text: put it in quotes",
        "a.yml:2:38: services[0].env[2]: is true, must be a text: put it in quotes",
        "a.yml:3:3: services[1]: 'name' is missing",
        "a.yml:4:8: services[1].net: is a mapping, must be a text",
        "a.yml:5:8: files: is a mapping, must be a list of mappings",
        "a.yml:7:3: kernel: unknown key 'cmdlin', did you mean 'cmdline'?",
    ];
    assert_eq!(refusal(text).lines().collect::<Vec<_>>(), expected);
}

#[test]
fn names_stay_in_their_directories() {
    for section in ["onboot", "onshutdown", "services"] {
        for name in ["''", ".", "..", "a/b", "/", "../../etc", "\"a\\0b\""] {
            let said = refusal(&format!("{section}: [{{name: {name}, image: a}}]"));
            assert!(said.contains("must be one part of a path"), "{name}: {said}");
        }
    }
    assert!(parse("onboot: [{name: a, image: a}, {name: a, image: a}]\nvolumes: [{}]").is_ok());
}

#[test]
fn what_was_left_out_is_told_from_what_was_given() {
    let text = "services: [{name: a, image: a, env: [], cwd: '', readonly: false, rootfsPropagation: '', runtime: {bindNS: {net: ''}}}]";
    let config = &parse(text).unwrap().services[0].config;
    assert_eq!(words(config.env.as_ref().unwrap()), [""; 0]);
    assert_eq!((config.command.as_ref(), config.cwd.as_ref(), config.readonly), (None, None, Some(false)));
    assert_eq!(config.rootfs_propagation.as_ref().unwrap().value, "");
    let runtime = config.runtime.as_ref().unwrap();
    assert_eq!((runtime.bind_ns.net.as_ref().unwrap().value.as_str(), runtime.bind_ns.pid.as_ref()), ("", None));
}

#[test]
fn keys_without_effect_are_warned_of() {
    let text = "services:\n- name: a\n  image: a\n  uidMappings: [{hostID: 5, containerID: 6, size: 7}]\n  resources:\n    \
                memory: {kernelTCP: -1, limit: 5.0}\n    hugepageLimits: [{limit: 1}]\n";
    let config = parse(text).unwrap();
    let keys = ["4:18: services[0].uidMappings[0].hostID", "4:29: services[0].uidMappings[0].containerID"];
    let more = ["6:14: services[0].resources.memory.kernelTCP", "7:5: services[0].resources.hugepageLimits"];
    let expected = keys.iter().chain(&more).map(|key| format!("a.yml:{key} is without effect: LinuxKit ignores it, too"));
    assert_eq!(config.warnings, expected.collect::<Vec<_>>());
    let service = &config.services[0].config;
    assert_eq!(service.uid_mappings.as_ref().unwrap(), &[IdMapping { size: 7, ..IdMapping::default() }]);
    assert_eq!(service.resources.as_ref().unwrap().memory.as_ref().unwrap().limit, Some(5));
}

#[test]
fn templates_are_put_in_and_other_texts_with_their_mark_are_kept() {
    let packages = |directory: &str| match directory {
        "./thing" => Ok("docker.io/lab/thing:abc".to_owned()),
        _ => Err(Error::bad_input("no such package")),
    };
    let text = b"init: ['@pkg:./thing']\nfiles:\n- {path: a, contents: '@reboot x'}\n- {path: b, contents: '@pkg:other'}\n";
    let config = Config::parse("a.yml", text, Some(&packages)).unwrap();
    assert_eq!(config.init[0].expanded, "docker.io/lab/thing:abc");
    let contents: Vec<_> = config.files.iter().map(|file| file.contents.as_ref().unwrap().value.as_str()).collect();
    assert_eq!(contents, ["@reboot x", "@pkg:other"]);
    let expected = [
        "a.yml:3:23: a text that begins with '@' is kept, where LinuxKit makes it empty",
        "a.yml:4:23: '@pkg:other' is kept as it is: no such package",
    ];
    assert_eq!(config.warnings, expected);
    assert!(parse("files: [{path: a, contents: '@x'}]").unwrap().warnings.is_empty(), "no templates, no warning");
    let said = Config::parse("a.yml", b"init: ['@pkg:other']", Some(&packages)).unwrap_err().to_string();
    let reason = "a.yml:1:8: '@pkg:other' is kept as it is: no such package\n";
    assert_eq!(said, reason.to_owned() + "a.yml:1:8: '@pkg:other' is no name of an image: a part of its path is empty or dots");
}

#[test]
fn a_label_has_all_but_name_and_image() {
    let (config, warnings) = ImageConfig::parse("the label", r#"{"capabilities": ["all"], "binds": ["/a:/b"], "pid": "host"}"#).unwrap();
    assert_eq!((words(config.capabilities.as_ref().unwrap()), config.pid.unwrap().value.as_str()), (vec!["all"], "host"));
    assert!(warnings.is_empty());
    assert_eq!(ImageConfig::parse("the label", "readonly: true\n").unwrap().0.readonly, Some(true));
    let cases = [
        (r#"{"name": "x"}"#, "the label:1:2: unknown key 'name'"),
        (r#"{"image": "x"}"#, "the label:1:2: unknown key 'image'"),
        (r#"["x"]"#, "the label:1:1: is a list, must be a mapping"),
        (r#"{"capabilities": "all"}"#, "the label:1:18: capabilities: is the text 'all', must be a list of texts"),
    ];
    for (text, expected) in cases {
        assert_eq!(ImageConfig::parse("the label", text).unwrap_err().to_string(), expected);
    }
}

#[test]
fn whose_signatures_are_asked_for() {
    let trust = parse("trust: {org: [lab], image: [lab/a], cosign: {key: cosign.pub, image: [lab/b, ghcr.io/c]}}").unwrap().trust;
    assert_eq!((words(&trust.org), words(&trust.image)), (vec!["lab"], vec!["lab/a"]));
    assert_eq!((trust.cosign[0].key.value.as_str(), words(&trust.cosign[0].image)), ("cosign.pub", vec!["lab/b", "ghcr.io/c"]));
    assert_eq!(refusal("trust: {cosign: {}}").lines().count(), 2);
}
