//! Segmentation as a stage of a lane: which posture each class has.

use model::drop_reason::DropReason;

use super::{Passed, Posture, Segmenter, is_fit};
use crate::mbuf::Mbuf;
use crate::pool::{Pool, PoolError};

/// The stage between classification and pacer. One for each lane.
///
/// Only packets that are not [`is_fit`] need [`SegmentStage::pass`]; the lane asks that first, inline.
pub struct SegmentStage {
    /// As the config states them.
    stated: Box<[Posture]>,
    /// As the profile in force lets them be.
    postures: Box<[Posture]>,
    frame_bytes_max: u32,
    /// `None` where every class refuses.
    segmenter: Option<Segmenter>,
}

impl SegmentStage {
    /// A stage for a lane that sends frames of up to `frame_bytes_max`, with the posture of each
    /// class by its index: the loosest that any profile gives it. `pool` and `name` as in
    /// [`Segmenter::new`], which is made only where some class does not refuse.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub fn new(
        postures: &[Posture],
        frame_bytes_max: u32,
        pool: &Pool,
        name: &str,
    ) -> Result<Self, PoolError> {
        let refuses = postures.iter().all(|&posture| posture == Posture::Refuse);
        Ok(Self {
            stated: postures.into(),
            postures: postures.into(),
            frame_bytes_max,
            segmenter: if refuses { None } else { Some(Segmenter::new(pool, name)?) },
        })
    }

    /// Whether super-frames are to be classified at all; where not, they end as `tx_oversize` before.
    pub const fn is_on(&self) -> bool {
        self.segmenter.is_some()
    }

    /// Bounds the posture of a class, at a burst boundary: a profile may only tighten. A class beyond
    /// the table is ignored.
    pub fn set_most(&mut self, class: usize, most: Posture) {
        if let (Some(posture), Some(&stated)) =
            (self.postures.get_mut(class), self.stated.get(class))
        {
            *posture = stated.min(most);
        }
    }

    /// Whether a packet needs no more than a look.
    #[inline]
    pub const fn is_fit(&self, packet: &Mbuf) -> bool {
        is_fit(packet, self.frame_bytes_max)
    }

    /// [`Segmenter::pass`] as the packet's class has it.
    ///
    /// # Errors
    /// As there.
    pub fn pass(&mut self, packet: Mbuf) -> Result<Passed<'_>, (Mbuf, DropReason)> {
        if self.is_fit(&packet) {
            return Ok(Passed::Whole(packet));
        }
        let posture =
            self.postures.get(usize::from(packet.meta().class)).copied().unwrap_or_default();
        let Some(segmenter) = &mut self.segmenter else {
            return Err((packet, DropReason::TxOversize));
        };
        segmenter.pass(posture, packet, self.frame_bytes_max)
    }
}
