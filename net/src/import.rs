//! What clouds make of a disk: images that machines are started from.
//!
//! | cloud | the bytes | what has a name then |
//! |---|---|---|
//! | `aws` | blocks of a snapshot, those of zeros left out (EBS direct) | an image (AMI) on that snapshot |
//! | `azure` | pages of a blob, those of zeros left out | an image, or a version in a gallery, made of the blob |
//!
//! Each has two steps: all bytes first, then the name. `abandon` takes back what has no name yet.

pub mod aws;
pub mod azure;
