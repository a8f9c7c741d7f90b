//! Rows of Parquet files as JSON.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde_json::{Value, json};

/// All rows of a file, each by the names of its columns.
pub fn rows(file: &Path) -> Vec<BTreeMap<String, Value>> {
    let reader = SerializedFileReader::new(File::open(file).unwrap()).unwrap();
    reader.get_row_iter(None).unwrap().map(|row| cells(&row.unwrap())).collect()
}

fn cells(row: &Row) -> BTreeMap<String, Value> {
    let value = |field: &Field| match field {
        Field::Null => Value::Null,
        Field::Str(text) => json!(text),
        Field::Bool(flag) => json!(flag),
        Field::Double(real) => json!(real),
        Field::UInt(number) => json!(number),
        Field::ULong(number) => json!(number),
        Field::Long(number) => json!(number),
        other => panic!("{other:?}"),
    };
    row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect()
}
