//! Images of ours boot: in every firmware, on every bus, to the line that a guest prints after it has checked its whole initrd.
//!
//! The test kernel of `boot/testkernel` makes the wide matrix cheap: a boot takes seconds. A real Debian guest repeats what matters.

mod broken;
mod containers;
mod debian;
mod edited;
mod filled;
mod iso;
mod isofs;
mod sectors;
mod secure;
mod testkernel;
