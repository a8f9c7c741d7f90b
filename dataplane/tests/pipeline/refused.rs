//! What has no place in a pipeline is refused at the start as well, should `check` ever let it pass.

use dataplane::assemble::{self, AssembleError, TimeBase};
use model::config::PortIntent;
use model::inflight::CompletionSource;
use model::profile::Segment;
use model::time::Nanos;

use crate::common::Bench;
use crate::world::config;

#[test]
fn intent_and_cutting_refuse_the_start_of_a_pipeline() {
    let bench = Bench::new();
    let plain = config(&[]);
    let (mut tagged, mut cut) = (plain.clone(), plain.clone());
    tagged.ports[0].intent = PortIntent::Shim;
    cut.ports[1].segment = Segment::Software;
    for (config, said) in [(&plain, None), (&tagged, Some("intent")), (&cut, Some("`segment`"))] {
        let (_in, rx, _tx) = bench.open("net_null0");
        let (_out, _rx, tx) = bench.open("net_null1");
        let (base, from, to) = (TimeBase::Virtual, (0, vec![rx]), (1, tx));
        let sync = CompletionSource::Synchronous;
        let made =
            assemble::pipeline(config, &bench.pool, base, Nanos::ZERO, 0, 32, from, to, sync);
        let refused = match made {
            Ok(_) => None,
            Err(AssembleError::NotInPipeline { what, .. }) => Some(what),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(refused, said);
    }
}
