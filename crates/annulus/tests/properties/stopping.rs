//! The end of a producer, and the next one.

use annulus_core::words::{Anchor, NOWHERE};
use annulus_core::writer::Writer;

use crate::ops::Stop;
use crate::rig::Rig;
use crate::table::{Table, Words};

impl<R: Rig> Table<'_, R> {
    /// The producer stops for ever, at an instruction of some kind.
    pub(crate) fn stop(&mut self, stop: &Stop) {
        let mut writer = self.writer();
        let (page, stamp) = (self.rig.shared().producer, self.drafts);
        match stop {
            Stop::Idle => {}
            Stop::Claim(claim) => drop(self.fill(&mut writer, *claim)),
            Stop::Batch(drafts) => drop(self.stage(&mut writer, drafts)),
            Stop::Published(drafts, words) => {
                let (batch, staged) = self.stage(&mut writer, drafts);
                let anchors: Vec<_> = page.anchors.iter().map(Anchor::glance).collect();
                let (old, count) = (self.words, staged.len());
                writer.flush(batch, &self.rig.shared());
                self.published(stamp, staged);
                // The header is out; of the stores behind it, in this order, only so many.
                if count > 0 {
                    page.tail.preset(old.tail);
                    self.words.tail = old.tail;
                    if *words < 2 {
                        page.newest.preset(old.newest);
                        self.words.newest = old.newest;
                    }
                    if *words < 1 {
                        page.published.preset(old.published);
                        self.words.published = old.published;
                    }
                    page.anchors.iter().zip(anchors).for_each(|(anchor, old)| anchor.preset(old));
                    // So there is none within the batch.
                    self.note_gap(old.tail);
                }
            }
            // One that keeps records leaves anchors to them first, so that its wishes cannot be made up.
            Stop::Announced(_) if self.setting.retain > 0 => {}
            Stop::Announced(permille) => {
                let most = self.model.tail + self.setting.capacity;
                self.lease += (most - self.lease) * u64::from(*permille) / 1000;
                page.lease.preset(self.lease);
            }
        }
    }

    /// The next producer finds everything that is published, and takes over what was granted and wished for.
    pub(crate) fn take_over(&mut self) {
        let shared = self.rig.shared();
        let writer =
            Writer::take_over(self.model.shape, &shared, self.setting.retain).expect("a ring that is whole");
        assert_eq!((writer.tail(), writer.sequence()), (self.model.tail, self.model.published()));
        let newest = self.model.newest().map_or(NOWHERE, |n| self.model.position_of(n));
        self.words = Words { published: self.model.published(), newest, tail: self.model.tail };
        self.writer = Some(writer);
        let page = shared.producer;
        assert_eq!((page.licence.glance(), page.lease.glance()), (self.licence, self.lease));
    }
}
