//! Columns of generated tables.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampNanosecondArray, UInt32Array, UInt64Array,
};
use datafusion::arrow::error::ArrowError;

/// A table, or part of one.
pub type Batch = Result<RecordBatch, ArrowError>;

/// Of columns by name.
pub fn batch<const N: usize>(columns: [(&str, ArrayRef); N]) -> Batch {
    RecordBatch::try_from_iter(columns)
}

/// Timestamps, ns since 1970.
pub fn times(values: impl IntoIterator<Item = impl Into<Option<i64>>>) -> ArrayRef {
    Arc::new(values.into_iter().map(Into::into).collect::<TimestampNanosecondArray>())
}

/// Floating point.
pub fn reals(values: impl IntoIterator<Item = impl Into<Option<f64>>>) -> ArrayRef {
    Arc::new(values.into_iter().map(Into::into).collect::<Float64Array>())
}

/// Unsigned 64 bits.
pub fn ids(values: impl IntoIterator<Item = impl Into<Option<u64>>>) -> ArrayRef {
    Arc::new(values.into_iter().map(Into::into).collect::<UInt64Array>())
}

/// Unsigned 32 bits.
pub fn numbers(values: impl IntoIterator<Item = impl Into<Option<u32>>>) -> ArrayRef {
    Arc::new(values.into_iter().map(Into::into).collect::<UInt32Array>())
}

/// Signed 64 bits.
pub fn wholes(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(values.into_iter().map(Some).collect::<Int64Array>())
}

/// Text.
pub fn texts<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> ArrayRef {
    Arc::new(values.into_iter().map(Some).collect::<StringArray>())
}

/// True or false.
pub fn flags(values: impl IntoIterator<Item = bool>) -> ArrayRef {
    Arc::new(values.into_iter().map(Some).collect::<BooleanArray>())
}
