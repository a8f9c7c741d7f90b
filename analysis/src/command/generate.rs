//! `wirepace-analysis generate`.

use std::fs::File;
use std::path::Path;

use analysis::error::Error;
use analysis::generate::{Parameters, Recorded, World, file_names, follow, generate};
use analysis::tables::{Limits, Source};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

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
    table(&dir.join("parents.parquet"), once(world.parents()))?;
    table(&dir.join("children.parquet"), once(world.children()))?;
    table(&dir.join("fills.parquet"), once(world.fills()))?;
    table(&dir.join("quotes.parquet"), once(world.quotes()))?;
    let mut packets = 0;
    for timeline in world.timelines() {
        let [of_packets, of_features, of_log] =
            file_names(&timeline).map(|name| dir.join("timelines").join(name));
        if let Some(parent) = of_packets.parent() {
            make_dir(parent)?;
        }
        packets += table(&of_packets, world.packets(&timeline))?;
        table(&of_features, once(world.features(&timeline)))?;
        table(&of_log, once(world.regime_log(&timeline)))?;
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

/// Writes a table; its rows. Without a batch there is no file.
fn table(
    path: &Path,
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
) -> Result<usize, Error> {
    let failed = |error: parquet::errors::ParquetError| Error::Unreadable {
        path: path.into(),
        why: error.to_string(),
    };
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = None;
    let mut rows = 0;
    for batch in batches {
        let batch = batch?;
        if writer.is_none() {
            let file = File::create(path).map_err(Error::file(path))?;
            let schema = batch.schema();
            writer =
                Some(ArrowWriter::try_new(file, schema, Some(properties.clone())).map_err(failed)?);
        }
        if let Some(writer) = &mut writer {
            writer.write(&batch).map_err(failed)?;
        }
        rows += batch.num_rows();
    }
    if let Some(writer) = writer {
        writer.close().map_err(failed)?;
    }
    Ok(rows)
}
