//! Container images: OCI image specification 1.1, and Docker's image manifest version 2, schema 2, of which it came.
//!
//! ```text
//!  reference ─► index ─► manifest ─┬─► config     what to run, and the digests of the unpacked layers
//!             (platforms)          └─► layers     tars, compressed or not, each over those before it
//! ```
//! Everything is named by the digest of its bytes, and every byte is held against it. Where the bytes are is a [`Store`]'s matter: a
//! directory or an archive; nothing here opens a path or a socket.
//!
//! Judged by skopeo, umoci and LinuxKit. Not done: layers that are not distributable, encrypted ones.

pub mod archive;
pub mod container_disk;
pub mod cosign;
mod digest;
mod image;
mod json;
pub mod layer;
mod made;
mod manifest;
pub mod merge;
mod reference;
mod store;

pub use digest::{Digest, Hasher};
pub use image::{Image, Layer, is_index, select};
pub use made::{Artifact, Document, Made};
pub use manifest::{Config, Descriptor, Execution, Index, Manifest, Platform, media_type};
pub use reference::{Reference, is_tag};
pub use store::{LAYOUT, Store, blob_name, named};

#[cfg(test)]
mod tests;
