//! Where the tables are, registered for queries with what cannot be used left out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Schema, UInt64Type};
use datafusion::datasource::MemTable;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::ListingOptions;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use parquet::file::reader::SerializedFileReader;
use tempfile::TempDir;

use super::csv::{LINE, to_parquet};
use super::engine::{Limits, context};
use super::rules::{BadRow, BadRows, LISTED_MAX};
use super::schema::{ALL, Column, Kind, Table};
use crate::error::Error;
use crate::generate::World;

/// The tables of an analysis.
pub struct Source {
    /// For queries. The tables are views that hold good rows only.
    pub context: SessionContext,
    /// What was left out, by table.
    pub bad: BTreeMap<&'static str, BadRows>,
    /// Files behind the tables, for provenance.
    pub files: Vec<PathBuf>,
    // Converted and spilled files go with it.
    scratch: TempDir,
}

impl Source {
    /// Finds and registers the tables below `dir`.
    ///
    /// # Errors
    /// A table or a needed column is missing, or a file is not what its name says.
    pub async fn open(dir: &Path, limits: Limits) -> Result<Self, Error> {
        let mut source = Self::open_only(dir, limits, &ALL).await?;
        source.check_references().await?;
        Ok(source)
    }

    /// Finds and registers what gateways have written: the timelines below `dir`, and no other table.
    ///
    /// # Errors
    /// As [`Source::open`].
    pub async fn open_timelines(dir: &Path, limits: Limits) -> Result<Self, Error> {
        let timelines: Vec<_> = ALL.into_iter().filter(|table| table.timeline).collect();
        Self::open_only(dir, limits, &timelines).await
    }

    async fn open_only(
        dir: &Path,
        limits: Limits,
        tables: &[&'static Table],
    ) -> Result<Self, Error> {
        let mut source = Self::empty(limits)?;
        let scratch = source.scratch.path().to_owned();
        for &table in tables {
            let mut bad = BadRows::default();
            let (root, files) = find(table, dir, &scratch, &mut bad)?;
            for file in &files {
                readable(&file.read)?;
            }
            let raw = format!("{}_raw", table.name);
            source.register_files(table, &raw, &root).await?;
            source.bad.insert(table.name, bad);
            source.make_view(table, &raw, dir, &files).await?;
            source.files.extend(files.into_iter().map(|file| file.given));
        }
        Ok(source)
    }

    /// A generated world, without files.
    ///
    /// # Errors
    /// The engine refuses a table.
    pub async fn of_world(world: &World, limits: Limits) -> Result<Self, Error> {
        let mut source = Self::empty(limits)?;
        let mut of_timelines: [Vec<RecordBatch>; 3] = Default::default();
        for timeline in world.timelines() {
            let placed =
                |batch: RecordBatch| partitioned(&batch, &timeline.gateway, &timeline.date);
            for batch in world.packets(&timeline) {
                of_timelines[0].push(placed(batch?)?);
            }
            of_timelines[1].push(placed(world.features(&timeline)?)?);
            of_timelines[2].push(placed(world.regime_log(&timeline)?)?);
        }
        let [packets, features, regime_log] = of_timelines;
        let tables = [
            vec![world.parents()?],
            vec![world.children()?],
            vec![world.fills()?],
            vec![world.quotes()?],
            packets,
            features,
            regime_log,
        ];
        for (table, batches) in ALL.into_iter().zip(tables) {
            let raw = format!("{}_raw", table.name);
            source.register_batches(&raw, batches)?;
            source.make_view(table, &raw, Path::new("generated"), &[]).await?;
        }
        source.check_references().await?;
        Ok(source)
    }

    fn empty(limits: Limits) -> Result<Self, Error> {
        let scratch = TempDir::with_prefix("wirepace-analysis-")
            .map_err(Error::file(std::env::temp_dir()))?;
        let context = context(limits, scratch.path())?;
        Ok(Self { context, bad: BTreeMap::new(), files: Vec::new(), scratch })
    }

    /// Registers batches as a table.
    ///
    /// # Errors
    /// There is none, or they do not fit together.
    pub fn register_batches(&self, name: &str, batches: Vec<RecordBatch>) -> Result<(), Error> {
        let Some(first) = batches.first() else {
            return Err(Error::Empty(format!("{name}: no rows")));
        };
        let table = MemTable::try_new(first.schema(), vec![batches])?;
        self.context.register_table(name, Arc::new(table))?;
        Ok(())
    }

    /// The rows of a query.
    ///
    /// # Errors
    /// The engine's.
    pub async fn query(&self, sql: &str) -> Result<Vec<RecordBatch>, Error> {
        Ok(self.context.sql(sql).await?.collect().await?)
    }

    /// Registers the rows of a query as a table, computed once.
    ///
    /// # Errors
    /// The engine's.
    pub async fn materialise(&self, name: &str, sql: &str) -> Result<(), Error> {
        let frame = self.context.sql(sql).await?;
        let planned = RecordBatch::new_empty(Arc::new(frame.schema().as_arrow().clone()));
        let planned = without_views(&planned)?.schema();
        let batches: Result<Vec<_>, Error> =
            frame.collect().await?.iter().map(without_views).collect();
        let batches = batches?;
        // A plan may promise fewer nulls than its batches declare.
        let schema = batches.first().map_or(planned, RecordBatch::schema);
        let table = MemTable::try_new(schema, vec![batches])?;
        self.context.register_table(name, Arc::new(table))?;
        Ok(())
    }

    async fn register_files(&self, table: &Table, name: &str, root: &Path) -> Result<(), Error> {
        let partitions = if table.timeline {
            vec![("gateway".to_owned(), DataType::Utf8), ("date".to_owned(), DataType::Utf8)]
        } else {
            Vec::new()
        };
        let options =
            ListingOptions::new(Arc::new(ParquetFormat::default().with_force_view_types(false)))
                .with_file_extension(if table.timeline {
                    format!(".{}.parquet", table.name)
                } else {
                    ".parquet".to_owned()
                })
                .with_table_partition_cols(partitions);
        let root = root.to_string_lossy();
        self.context.register_listing_table(name, root, options, None, None).await?;
        Ok(())
    }

    /// The view of good rows: columns in their kinds, bad and repeated rows left out and counted.
    async fn make_view(
        &mut self,
        table: &'static Table,
        raw: &str,
        dir: &Path,
        files: &[Found],
    ) -> Result<(), Error> {
        let schema = self.context.table(raw).await?.schema().as_arrow().clone();
        let typed = typed_sql(table, raw, &schema, dir)?;
        let mut bad = self.bad.remove(table.name).unwrap_or_default();
        let reason = table.reason_sql();
        let counts = self
            .query(&format!(
                "SELECT reason, count(*) FROM (SELECT {reason} AS reason FROM ({typed})) \
                 WHERE reason IS NOT NULL GROUP BY reason"
            ))
            .await?;
        let before = bad.count();
        for batch in &counts {
            let (reasons, numbers) = (texts(batch, 0)?, batch.column(1));
            let numbers = datafusion::arrow::compute::cast(numbers, &DataType::UInt64)?;
            for row in 0..batch.num_rows() {
                let count = numbers.as_primitive::<UInt64Type>().value(row);
                *bad.reasons.entry(reasons.value(row).to_owned()).or_default() += count;
            }
        }
        let mut good = typed.clone();
        if bad.count() > before {
            self.list_bad_rows(table, &reason, dir, files, &mut bad).await?;
            // Only then: it makes every query read the columns that the rules look at.
            good = format!("SELECT * FROM ({typed}) WHERE {reason} IS NULL");
        }
        if !table.key.is_empty() {
            let key = table.key;
            let repeated = format!("{}_repeated", table.name);
            self.materialise(
                &repeated,
                &format!(
                    "SELECT {key}, count(*) AS times FROM ({good}) GROUP BY {key} HAVING count(*) > 1"
                ),
            )
            .await?;
            let rows = self.count(&format!("SELECT sum(times) FROM {repeated}")).await?;
            if rows > 0 {
                bad.reasons.insert(format!("{key} occurs more than once"), rows);
                good = format!(
                    "SELECT * FROM ({good}) WHERE {key} NOT IN (SELECT {key} FROM {repeated})"
                );
            }
        }
        self.context.sql(&format!("CREATE VIEW {} AS {good}", table.name)).await?;
        self.bad.insert(table.name, bad);
        Ok(())
    }

    /// Finds the lines of bad rows, file by file, until enough are listed.
    async fn list_bad_rows(
        &self,
        table: &'static Table,
        reason: &str,
        dir: &Path,
        files: &[Found],
        bad: &mut BadRows,
    ) -> Result<(), Error> {
        // One part, so that rows come in the order of the file.
        let config = SessionConfig::new().with_target_partitions(1).with_collect_statistics(false);
        let context = SessionContext::new_with_config(config);
        for file in files {
            if bad.listed.len() >= LISTED_MAX {
                break;
            }
            let options = ParquetReadOptions::default();
            let path = file.read.to_string_lossy();
            context.register_parquet("one", path.as_ref(), options).await?;
            let schema = context.table("one").await?.schema().as_arrow().clone();
            let has_line = schema.field_with_name(LINE).is_ok();
            let line =
                if has_line { format!("\"{LINE}\"") } else { "row_number() OVER ()".to_owned() };
            let columns = columns_sql(table, &schema, dir)?;
            let sql = format!(
                "SELECT CAST(line AS BIGINT UNSIGNED), reason FROM (SELECT line, {reason} AS reason FROM \
                 (SELECT {line} AS line, {columns} FROM one)) WHERE reason IS NOT NULL LIMIT {LISTED_MAX}"
            );
            for batch in context.sql(&sql).await?.collect().await? {
                let lines = batch.column(0).as_primitive::<UInt64Type>();
                let reasons = texts(&batch, 1)?;
                for row in 0..batch.num_rows() {
                    bad.list(BadRow {
                        file: file.given.display().to_string(),
                        line: lines.value(row),
                        reason: reasons.value(row).to_owned(),
                    });
                }
            }
            context.deregister_table("one")?;
        }
        Ok(())
    }

    /// Counts rows that refer to nothing. Joins leave them out.
    async fn check_references(&mut self) -> Result<(), Error> {
        for (table, key, of) in
            [("children", "parent_id", "parents"), ("fills", "correlation_id", "children")]
        {
            let sql =
                format!("SELECT count(*) FROM {table} WHERE {key} NOT IN (SELECT {key} FROM {of})");
            let count = self.count(&sql).await?;
            if count > 0 {
                let reason = format!("{key} is not in {of}");
                self.bad.entry(table).or_default().reasons.insert(reason, count);
            }
        }
        Ok(())
    }

    /// The one number of a query; 0 for null.
    ///
    /// # Errors
    /// The engine's.
    pub async fn count(&self, sql: &str) -> Result<u64, Error> {
        let batches = self.query(sql).await?;
        let Some(batch) = batches.iter().find(|batch| batch.num_rows() > 0) else { return Ok(0) };
        let number = datafusion::arrow::compute::cast(batch.column(0), &DataType::UInt64)?;
        let number = number.as_primitive::<UInt64Type>();
        Ok(if number.is_null(0) { 0 } else { number.value(0) })
    }
}

/// Texts copied out of the buffers that views of them look into. What is joined to them would hold on to every buffer,
/// and what is joined to that to the product.
fn without_views(batch: &RecordBatch) -> Result<RecordBatch, Error> {
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let is_view = *field.data_type() == DataType::Utf8View;
        let kind = if is_view { DataType::Utf8 } else { field.data_type().clone() };
        columns.push(datafusion::arrow::compute::cast(column, &kind)?);
        fields.push(field.as_ref().clone().with_data_type(kind).with_nullable(true));
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

/// A text column, whatever way texts are stored.
fn texts(batch: &RecordBatch, column: usize) -> Result<StringArray, Error> {
    let array = datafusion::arrow::compute::cast(batch.column(column), &DataType::Utf8)?;
    Ok(array.as_string::<i32>().clone())
}

fn partitioned(batch: &RecordBatch, gateway: &str, date: &str) -> Result<RecordBatch, Error> {
    let rows = batch.num_rows();
    let constant =
        |text: &str| Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows)));
    let mut columns: Vec<(String, Arc<dyn Array>)> = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        columns.push((field.name().clone(), column.clone()));
    }
    columns.push(("gateway".to_owned(), constant(gateway)));
    columns.push(("date".to_owned(), constant(date)));
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn typed_sql(table: &Table, raw: &str, schema: &Schema, dir: &Path) -> Result<String, Error> {
    let mut columns = columns_sql(table, schema, dir)?;
    if table.timeline {
        columns.push_str(", gateway, date");
    }
    Ok(format!("SELECT {columns} FROM {raw}"))
}

fn columns_sql(table: &Table, schema: &Schema, dir: &Path) -> Result<String, Error> {
    let columns: Result<Vec<String>, Error> =
        table.columns.iter().map(|column| column_sql(table, column, schema, dir)).collect();
    Ok(columns?.join(", "))
}

/// The column in its kind; what cannot be converted is null.
fn column_sql(
    table: &Table,
    column: &Column,
    schema: &Schema,
    dir: &Path,
) -> Result<String, Error> {
    let Column { name, kind, .. } = column;
    let kind_sql = kind.sql();
    match schema.field_with_name(name) {
        Ok(field) => Ok(match (kind, field.data_type()) {
            (Kind::Id, DataType::UInt64)
            | (Kind::Number, DataType::UInt32)
            | (Kind::Whole, DataType::Int64)
            | (Kind::Real, DataType::Float64)
            | (Kind::Text, DataType::Utf8 | DataType::Utf8View)
            | (Kind::Flag, DataType::Boolean) => format!("\"{name}\""),
            (Kind::Time, DataType::Timestamp(..)) => {
                format!("CAST(CAST(\"{name}\" AS TIMESTAMP) AS BIGINT) AS \"{name}\"")
            }
            _ => format!("TRY_CAST(\"{name}\" AS {kind_sql}) AS \"{name}\""),
        }),
        Err(_) if column.needed => {
            let path = if table.timeline { dir.join("timelines") } else { dir.join(table.name) };
            Err(Error::NoColumn { path, table: table.name, column: name })
        }
        Err(_) => Ok(format!("CAST(NULL AS {kind_sql}) AS \"{name}\"")),
    }
}

/// A file of a table.
struct Found {
    /// As it was given.
    given: PathBuf,
    /// What is read: the same, or what it was converted to.
    read: PathBuf,
}

/// The directory or file to register, and the Parquet files in it; CSV is converted first.
fn find(
    table: &'static Table,
    dir: &Path,
    scratch: &Path,
    bad: &mut BadRows,
) -> Result<(PathBuf, Vec<Found>), Error> {
    let (root, suffix) = if table.timeline {
        (dir.join("timelines"), format!(".{}", table.name))
    } else {
        (dir.join(table.name), String::new())
    };
    let mut files = Vec::new();
    for extension in ["parquet", "csv"] {
        let file = dir.join(format!("{}.{extension}", table.name));
        if !table.timeline && file.is_file() {
            files.push(file);
        }
    }
    if root.is_dir() {
        walk(&root, &mut files)?;
    }
    let ends = |file: &Path, extension: &str| {
        file.to_string_lossy().ends_with(&format!("{suffix}.{extension}"))
    };
    files.retain(|file| ends(file, "parquet") || ends(file, "csv"));
    files.sort();
    if files.is_empty() {
        return Err(Error::NoTable { dir: root.parent().unwrap_or(dir).into(), table: table.name });
    }
    if let Some(stray) = files.iter().find(|file| table.timeline && !in_partition(file, &root)) {
        return Err(Error::Unpartitioned(stray.clone()));
    }
    if files.iter().all(|file| ends(file, "parquet")) {
        let root = if root.is_dir() { root } else { files[0].clone() };
        let as_given = |file: PathBuf| Found { read: file.clone(), given: file };
        return Ok((root, files.into_iter().map(as_given).collect()));
    }
    // Some are CSV: all go into the scratch directory, in the partitions that they lie in.
    let converted = scratch.join(table.name);
    let mut all = Vec::new();
    for (number, file) in files.into_iter().enumerate() {
        let place = file.parent().and_then(|p| p.strip_prefix(&root).ok()).unwrap_or(Path::new(""));
        let target = converted.join(place);
        std::fs::create_dir_all(&target).map_err(Error::file(&target))?;
        let target = target.join(format!("{number}{suffix}.parquet"));
        if ends(&file, "csv") {
            to_parquet(table, &file, &target, bad)?;
        } else {
            std::fs::copy(&file, &target).map_err(Error::file(&file))?;
        }
        all.push(Found { given: file, read: target });
    }
    Ok((converted, all))
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    for entry in std::fs::read_dir(dir).map_err(Error::file(dir))? {
        let path = entry.map_err(Error::file(dir))?.path();
        if path.is_dir() { walk(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

fn in_partition(file: &Path, root: &Path) -> bool {
    let Some(place) = file.parent().and_then(|parent| parent.strip_prefix(root).ok()) else {
        return false;
    };
    let parts: Vec<_> = place.iter().map(|part| part.to_string_lossy()).collect();
    matches!(&parts[..], [gateway, date] if gateway.starts_with("gateway=") && date.starts_with("date="))
}

/// Whether the footer of a Parquet file can be read.
fn readable(path: &Path) -> Result<(), Error> {
    let file = std::fs::File::open(path).map_err(Error::file(path))?;
    SerializedFileReader::new(file)
        .map(|_| ())
        .map_err(|error| Error::Unreadable { path: path.into(), why: error.to_string() })
}
