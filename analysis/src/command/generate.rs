//! `wirepace-analysis generate`.

use std::path::Path;

use analysis::error::Error;
use analysis::generate::{Parameters, Recorded, World, file_names, follow, generate};
use analysis::tables::{Limits, Source, write_parquet};

use super::{EXIT_DONE, make_dir, write_json};
use crate::cli::Generate;
use crate::output::out;

/// Runs it.
pub async fn run(args: &Generate) -> Result<u8, Error> {
    let parameters = Parameters {
        rows: args.rows,
        effects: args.effects.iter().copied().collect(),
        confounder: args.confounder,
        fault: args.fault,
        design: args.design,
        gateways: args.gateways as usize,
        days: args.days as usize,
        ..Parameters::new(args.seed)
    };
    let world = match &args.timelines {
        None => generate(&parameters),
        Some(written) => {
            make_dir(&args.out)?;
            copy(written, &args.out.join("timelines"))?;
            let source = Source::open_timelines(&args.out, Limits::default()).await?;
            follow(&parameters, Recorded::read(&source).await?)?
        }
    };
    let packets = write(&world, &args.out)?;
    write_json(&args.out.join("truth.json"), &world.truth)?;
    let directory = args.out.display();
    if args.json {
        let value = serde_json::json!({
            "out": directory.to_string(),
            "children": world.children_count(),
            "packets": packets,
            "truth": world.truth,
        });
        out(format_args!("{value:#}"));
    } else {
        let written = format_args!("{} children, {packets} packets", world.children_count());
        out(format_args!("{directory}: {written}"));
        for (kpi, planted) in &world.truth.kpis {
            out(format_args!("{kpi}: {:.3} bps over {} units", planted.cost_bps, planted.treated));
        }
    }
    Ok(EXIT_DONE)
}

/// Writes all tables; the rows of `packets`.
fn write(world: &World, dir: &Path) -> Result<usize, Error> {
    make_dir(dir)?;
    let once = |batch| std::iter::once(batch);
    write_parquet(&dir.join("parents.parquet"), once(world.parents()))?;
    write_parquet(&dir.join("children.parquet"), once(world.children()))?;
    write_parquet(&dir.join("fills.parquet"), once(world.fills()))?;
    write_parquet(&dir.join("quotes.parquet"), once(world.quotes()))?;
    let mut packets = 0;
    for timeline in world.timelines() {
        let [of_packets, of_features, of_log] =
            file_names(&timeline).map(|name| dir.join("timelines").join(name));
        if let Some(parent) = of_packets.parent() {
            make_dir(parent)?;
        }
        packets += write_parquet(&of_packets, world.packets(&timeline))?;
        write_parquet(&of_features, once(world.features(&timeline)))?;
        write_parquet(&of_log, once(world.regime_log(&timeline)))?;
    }
    Ok(packets)
}

/// Copies the files below a directory.
fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    make_dir(to)?;
    for entry in std::fs::read_dir(from).map_err(Error::file(from))? {
        let entry = entry.map_err(Error::file(from))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            std::fs::copy(&path, &target).map_err(Error::file(&path))?;
        }
    }
    Ok(())
}
