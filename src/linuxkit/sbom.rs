//! `sbom.spdx.json`: what the images say of the packages in them, joined (SPDX 2.3).
//!
//! An image says it in an attestation: a manifest of its index that refers to its own. LinuxKit names the document by a random UUID;
//! ours comes from the content, so that the same build makes the same bytes.

use super::go_json;
use crate::{
    error::{At, Error, Result},
    images::Pulled,
};
use formats::{
    Ids,
    oci::{Descriptor, Manifest},
    tar::verbatim::clean,
};
use serde_json::{Map, Value, json};

const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
const PREDICATE_TYPE: &str = "in-toto.io/predicate-type";
const STATEMENT: &str = "application/vnd.in-toto+json";
const SPDX: &str = "https://spdx.dev/Document";

/// The lists of a document that are joined, in its order, with the fields of their items that come first, in theirs.
const LISTS: [(&str, &[&str]); 6] = [
    ("externalDocumentRefs", &[]),
    ("packages", &PACKAGE),
    ("files", &FILE),
    ("hasExtractedLicensingInfos", &[]),
    ("relationships", &[]),
    ("annotations", &[]),
];

const PACKAGE: [&str; 26] = [
    "name",
    "SPDXID",
    "versionInfo",
    "packageFileName",
    "supplier",
    "originator",
    "downloadLocation",
    "filesAnalyzed",
    "packageVerificationCode",
    "checksums",
    "homepage",
    "sourceInfo",
    "licenseConcluded",
    "licenseInfoFromFiles",
    "licenseDeclared",
    "licenseComments",
    "copyrightText",
    "summary",
    "description",
    "comment",
    "primaryPackagePurpose",
    "releaseDate",
    "builtDate",
    "validUntilDate",
    "externalRefs",
    "attributionTexts",
];

const FILE: [&str; 9] = [
    "fileName",
    "SPDXID",
    "fileTypes",
    "checksums",
    "licenseConcluded",
    "licenseInfoInFiles",
    "licenseComments",
    "copyrightText",
    "comment",
];

/// The joined lists.
#[derive(Debug, Default)]
pub(super) struct Sbom {
    lists: [Vec<Value>; LISTS.len()],
}

/// Takes what an image says of itself, its paths behind `prefix`.
///
/// # Errors
/// When its attestation is missing or malformed.
pub(super) fn add(sbom: &mut Sbom, prefix: &str, image: &Pulled) -> Result<()> {
    let Some(index) = &image.index else { return Ok(()) };
    let is_ours = |manifest: &&Descriptor| {
        manifest.annotation(REFERENCE_TYPE) == Some("attestation-manifest") && manifest.refers_to(&image.manifest.digest)
    };
    let Some(attestation) = index.manifests.iter().find(is_ours) else { return Ok(()) };
    let place = || format!("attestation {}", attestation.digest);
    let manifest = Manifest::parse(&image.document(attestation).at(place)?).at(place)?;
    for layer in &manifest.layers {
        if layer.annotation(PREDICATE_TYPE) == Some(SPDX) && layer.media_type == STATEMENT {
            let statement = image.document(layer).at(place)?;
            let document = predicate(&statement).at(|| format!("blob {}", layer.digest)).at(place)?;
            sbom.take(prefix, document);
        }
    }
    Ok(())
}

/// The document in a statement of in-toto.
fn predicate(statement: &[u8]) -> Result<Map<String, Value>> {
    let refuse = |what: &str| Error::bad_input(what).hint("leave the list of packages out with --no-sbom");
    let mut statement: Value = serde_json::from_slice(statement).map_err(|error| refuse("it is no JSON").because(error))?;
    if statement["predicateType"] != SPDX {
        return Err(refuse("it is no statement about SPDX"));
    }
    match statement["predicate"].take() {
        Value::Object(document) => Ok(document),
        _ => Err(refuse("its predicate must be an object")),
    }
}

impl Sbom {
    fn take(&mut self, prefix: &str, mut document: Map<String, Value>) {
        for ((name, first), list) in LISTS.iter().zip(&mut self.lists) {
            let Some(Value::Array(items)) = document.remove(*name) else { continue };
            let path = match *name {
                "packages" => Some("packageFileName"),
                "files" => Some("fileName"),
                _ => None,
            };
            list.extend(items.into_iter().map(|item| match item {
                Value::Object(item) => Value::from(ordered(moved(item, path, prefix), first)),
                item => item,
            }));
        }
    }

    /// The text of the document.
    pub(super) fn document(self) -> String {
        let nil = self.render("00000000-0000-0000-0000-000000000000");
        let uuid = Ids::from_seed(nil.as_bytes()).guid("sbom").to_string();
        self.render(&uuid)
    }

    fn render(&self, uuid: &str) -> String {
        let mut document = Map::new();
        let creation = json!({
            "licenseListVersion": "3.20",
            "creators": ["Organization: LinuxKit", "Tool: linuxkit"],
            "created": "2017-04-18T16:30:00Z",
        });
        for (name, value) in [
            ("spdxVersion", "SPDX-2.3".into()),
            ("dataLicense", "CC0-1.0".into()),
            ("SPDXID", "SPDXRef-DOCUMENT".into()),
            ("name", "sbom".into()),
            ("documentNamespace", format!("https://github.com/linuxkit/linuxkit/sbom-{uuid}").into()),
            (LISTS[0].0, self.lists[0].clone().into()),
            ("creationInfo", creation),
        ] {
            document.insert(name.into(), value);
        }
        for ((name, _), list) in LISTS.iter().zip(&self.lists).skip(1) {
            document.insert((*name).into(), list.clone().into());
        }
        document.retain(|_, value| value.as_array().is_none_or(|list| !list.is_empty()));
        go_json::compact(&document.into()) + "\n"
    }
}

/// An item with its path behind a prefix, and with what SPDX says where nothing is said.
fn moved(mut item: Map<String, Value>, path: Option<&str>, prefix: &str) -> Map<String, Value> {
    let Some(field) = path else { return item };
    let old = item.get(field).and_then(Value::as_str).unwrap_or_default();
    let new = [prefix, "/", old].concat();
    let new = match (prefix, old) {
        ("", "") => String::new(),
        ("", old) => String::from_utf8_lossy(&clean(old.as_bytes())).into_owned(),
        _ => String::from_utf8_lossy(&clean(new.as_bytes())).into_owned(),
    };
    if !new.is_empty() {
        item.insert(field.into(), new.into());
    }
    let (name, value) = if field == "fileName" { ("copyrightText", "".into()) } else { ("filesAnalyzed", true.into()) };
    item.entry(name).or_insert(value);
    item
}

/// An item with these fields first, in their order.
fn ordered(mut item: Map<String, Value>, first: &[&str]) -> Map<String, Value> {
    let mut ordered: Map<_, _> = first.iter().filter_map(|name| Some(((*name).to_owned(), item.remove(*name)?))).collect();
    ordered.extend(item);
    ordered
}
