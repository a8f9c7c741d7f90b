//! A table in memory, column by column, and its way into a Parquet file.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use model::time::Nanos;
use parquet::basic::{Compression, Encoding, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::data_type::{
    BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int32Type, Int64Type,
};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{ColumnPath, Type, TypePtr};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// ns of gateway time: TIMESTAMP(NANOS), not adjusted to UTC.
    Time,
    /// INTEGER(64, unsigned).
    Wide,
    /// INTEGER(32, unsigned).
    Number,
    /// DOUBLE.
    Real,
    /// BOOLEAN.
    Flag,
    /// STRING.
    Text,
}

/// A column of a schema.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub name: &'static str,
    pub of: Of,
    /// Every row has a value.
    pub needed: bool,
}

/// A column with a value in every row.
pub(super) const fn needed(name: &'static str, of: Of) -> Column {
    Column { name, of, needed: true }
}

/// A column that may be null.
pub(super) const fn maybe(name: &'static str, of: Of) -> Column {
    Column { name, of, needed: false }
}

impl Column {
    fn schema(&self) -> Result<TypePtr> {
        let (physical, logical) = match self.of {
            Of::Time => (Physical::INT64, Some(LogicalType::timestamp(false, TimeUnit::NANOS))),
            Of::Wide => (Physical::INT64, Some(LogicalType::integer(64, false))),
            Of::Number => (Physical::INT32, Some(LogicalType::integer(32, false))),
            Of::Real => (Physical::DOUBLE, None),
            Of::Flag => (Physical::BOOLEAN, None),
            Of::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let repetition = if self.needed { Repetition::REQUIRED } else { Repetition::OPTIONAL };
        Type::primitive_type_builder(self.name, physical)
            .with_repetition(repetition)
            .with_logical_type(logical)
            .build()
            .map(Arc::new)
    }
}

/// The schema of a table.
pub(super) fn schema(name: &str, columns: &[Column]) -> Result<TypePtr> {
    let fields = columns.iter().map(Column::schema).collect::<Result<Vec<_>>>()?;
    Type::group_type_builder(name).with_fields(fields).build().map(Arc::new)
}

/// How a file is written. Times grow by small steps: their differences take little room.
pub(super) fn properties(
    columns: &[Column],
    made_by: &str,
    facts: Vec<KeyValue>,
) -> WriterPropertiesPtr {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_created_by(made_by.to_owned())
        .set_key_value_metadata(Some(facts));
    for column in columns.iter().filter(|column| column.of == Of::Time) {
        let path = ColumnPath::from(column.name);
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
    }
    Arc::new(properties.build())
}

/// A text that is there once, however many rows have it.
pub(super) type Text = ByteArray;

/// A text of the program.
pub(super) fn fixed(text: &'static str) -> Text {
    Bytes::from_static(text.as_bytes()).into()
}

/// Any other text.
pub(super) fn owned(text: &str) -> Text {
    Bytes::copy_from_slice(text.as_bytes()).into()
}

enum Values {
    Long(Vec<i64>),
    Int(Vec<i32>),
    Real(Vec<f64>),
    Flag(Vec<bool>),
    Text(Vec<Text>),
}

struct Cells {
    values: Values,
    /// 1 for each row with a value, 0 for each without.
    there: Vec<i16>,
}

/// Rows that are not in a file yet.
pub(super) struct Table {
    columns: &'static [Column],
    cells: Vec<Cells>,
    rows: usize,
    /// The next cell of the row that is being added.
    next: usize,
}

impl Table {
    pub fn new(columns: &'static [Column]) -> Self {
        let cells = |column: &Column| Cells {
            values: match column.of {
                Of::Time | Of::Wide => Values::Long(Vec::new()),
                Of::Number => Values::Int(Vec::new()),
                Of::Real => Values::Real(Vec::new()),
                Of::Flag => Values::Flag(Vec::new()),
                Of::Text => Values::Text(Vec::new()),
            },
            there: Vec::new(),
        };
        Self { columns, cells: columns.iter().map(cells).collect(), rows: 0, next: 0 }
    }

    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Adds a row: `fill` gives its cells in the order of the columns.
    pub fn add(&mut self, fill: impl FnOnce(&mut Self)) {
        self.next = 0;
        fill(self);
        debug_assert_eq!(self.next, self.columns.len(), "a row has a cell for each column");
        self.rows += 1;
    }

    pub fn time(&mut self, time: impl Into<Option<Nanos>>) {
        self.long(time.into().map(|time| i64::try_from(time.0).unwrap_or(i64::MAX)));
    }

    pub fn wide(&mut self, number: impl Into<Option<u64>>) {
        self.long(number.into().map(u64::cast_signed));
    }

    fn long(&mut self, number: Option<i64>) {
        let cells = self.cell(number.is_some());
        if let (Values::Long(values), Some(number)) = (&mut cells.values, number) {
            values.push(number);
        }
    }

    pub fn number(&mut self, number: impl Into<Option<u32>>) {
        let number = number.into();
        let cells = self.cell(number.is_some());
        if let (Values::Int(values), Some(number)) = (&mut cells.values, number) {
            values.push(number.cast_signed());
        }
    }

    pub fn real(&mut self, number: impl Into<Option<f64>>) {
        let number = number.into();
        let cells = self.cell(number.is_some());
        if let (Values::Real(values), Some(number)) = (&mut cells.values, number) {
            values.push(number);
        }
    }

    pub fn flag(&mut self, flag: impl Into<Option<bool>>) {
        let flag = flag.into();
        let cells = self.cell(flag.is_some());
        if let (Values::Flag(values), Some(flag)) = (&mut cells.values, flag) {
            values.push(flag);
        }
    }

    pub fn text(&mut self, text: impl Into<Option<Text>>) {
        let text = text.into();
        let cells = self.cell(text.is_some());
        if let (Values::Text(values), Some(text)) = (&mut cells.values, text) {
            values.push(text);
        }
    }

    fn cell(&mut self, is_there: bool) -> &mut Cells {
        let cells = &mut self.cells[self.next];
        self.next += 1;
        cells.there.push(i16::from(is_there));
        cells
    }

    /// Writes what is there as one row group and forgets it, whatever comes of it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn flush<W: Write + Send>(&mut self, file: &mut SerializedFileWriter<W>) -> Result<()> {
        let written = if self.rows > 0 { self.write(file) } else { Ok(()) };
        *self = Self::new(self.columns);
        written
    }

    fn write<W: Write + Send>(&self, file: &mut SerializedFileWriter<W>) -> Result<()> {
        let mut group = file.next_row_group()?;
        for (column, cells) in self.columns.iter().zip(&self.cells) {
            let mut writer = group.next_column()?.ok_or_else(|| {
                ParquetError::General(format!("the file has no column {}", column.name))
            })?;
            let there = (!column.needed).then_some(cells.there.as_slice());
            match &cells.values {
                Values::Long(values) => put::<Int64Type>(&mut writer, values, there)?,
                Values::Int(values) => put::<Int32Type>(&mut writer, values, there)?,
                Values::Real(values) => put::<DoubleType>(&mut writer, values, there)?,
                Values::Flag(values) => put::<BoolType>(&mut writer, values, there)?,
                Values::Text(values) => put::<ByteArrayType>(&mut writer, values, there)?,
            }
            writer.close()?;
        }
        group.close()?;
        Ok(())
    }
}

fn put<T: DataType>(
    writer: &mut SerializedColumnWriter<'_>,
    values: &[T::T],
    there: Option<&[i16]>,
) -> Result<()> {
    writer.typed::<T>().write_batch(values, there, None).map(|_| ())
}
