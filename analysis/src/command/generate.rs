//! `wirepace-analysis generate`.

use std::fs::File;
use std::path::Path;

use analysis::error::Error;
use analysis::generate::{Parameters, World, file_names, generate};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::error::ArrowError;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::{EXIT_DONE, make_dir, write_json};
use crate::cli::Generate;
use crate::output::out;

/// Runs it.
pub fn run(args: &Generate) -> Result<u8, Error> {
    let parameters = Parameters {
        rows: args.rows,
        effects: args.effects.iter().copied().collect(),
        confounder: args.confounder,
        fault: args.fault,
        gateways: args.gateways as usize,
        days: args.days as usize,
        ..Parameters::new(args.seed)
    };
    let world = generate(&parameters);
    let packets = write(&world, &args.out)?;
    write_json(&args.out.join("truth.json"), &world.truth)?;
    let directory = args.out.display();
    if args.json {
        let value = serde_json::json!({
            "out": directory.to_string(),
            "packets": packets,
            "truth": world.truth,
        });
        out(format_args!("{value:#}"));
    } else {
        out(format_args!("{directory}: {packets} packets"));
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
