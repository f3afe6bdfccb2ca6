//! What clouds make of a disk: images that machines are started from.
//!
//! | cloud | the bytes | what has a name then |
//! |---|---|---|
//! | `openstack` | the file, in one piece (Glance) | an image, which is usable once its bytes are whole |
//!
//! Each has two steps: all bytes first, then the name. [`openstack::Import::abandon`] takes back what is not finished.

pub mod openstack;
