//! What clouds make of a disk: images that machines are started from.
//!
//! | cloud | the bytes | what has a name then |
//! |---|---|---|
//! | `aws` | blocks of a snapshot, those of zeros left out (EBS direct) | an image (AMI) on that snapshot |
//! | `azure` | pages of a blob, those of zeros left out | an image, or a version in a gallery, made of the blob; or a disk, with no blob |
//! | `google` | a tar in a bucket, which is deleted in the end | an image of Compute Engine |
//! | `openstack` | the file, in one piece (Glance) | an image, which is usable once its bytes are whole |
//! | `vsphere` | the file, in one piece, to the host of a lease | a machine, or a template |
//!
//! Each has two steps: all bytes first, then the name. `abandon` takes back what has no name yet.

pub mod aws;
pub mod azure;
pub mod google;
pub mod openstack;
pub mod vsphere;

use formats::units;

/// An id of one's own making (RFC 9562, version 8), out of a hash.
fn uuid(hash: &[u8; 32]) -> String {
    let mut bytes: [u8; 16] = std::array::from_fn(|at| hash[at]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = units::hex(&bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}
