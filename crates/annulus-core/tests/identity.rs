//! A creator fills an object in while another process maps it already, as handed-over rings allow.
//!
//! Shows: whoever sees the magic sees what was written before it. Cannot show: that a rename or a passed
//! descriptor orders named rings, which is the kernel's doing.

mod common;

use annulus_core::layout::{CTL_MAGIC, CtlHead};
use common::{Arc, model, relax, thread};

#[test]
fn the_magic_comes_last() {
    model(9, || {
        let ctl = Arc::new(CtlHead::default());
        let creator = {
            let ctl = ctl.clone();
            thread::spawn(move || {
                ctl.slots.preset(64);
                ctl.uuid[0].preset(7);
                ctl.magic.complete(CTL_MAGIC);
            })
        };
        while ctl.magic.look() != CTL_MAGIC {
            relax();
        }
        assert_eq!((ctl.slots.glance(), ctl.uuid[0].glance()), (64, 7));
        creator.join().unwrap();
    });
}
