//! Commands of ours on DPDK's telemetry socket.
//!
//! [`serve`] registers them once; DPDK calls back on threads of its own, which never poll a port. A
//! callback asks the one function that was given and copies its answer: what it reads is what control
//! has published, and nothing of a data core.
//!
//! DPDK 22.11 writes texts into its JSON as they are, takes no real numbers, names of letters, digits, `_`
//! and `/` only, and cuts what is too long. So names and texts are made plain here, and whoever answers
//! keeps to [`FIELDS_MAX`], [`LIST_MAX`] and [`ANSWER_BYTES_MAX`].
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::OnceLock;

use dpdk_sys::rte_tel_data;

use crate::eal::Errno;

/// Most fields of an answer (`RTE_TEL_MAX_DICT_ENTRIES`, 22.11).
pub const FIELDS_MAX: usize = 256;
/// Most texts or numbers in a list (`RTE_TEL_MAX_ARRAY_ENTRIES`, 22.11).
pub const LIST_MAX: usize = 512;
/// Most bytes of a name or a text (`RTE_TEL_MAX_STRING_LEN` less its NUL, 22.11).
pub const TEXT_BYTES_MAX: usize = 127;
/// Most bytes of an answer as JSON: DPDK sends no more than 16 KiB with the command around it.
pub const ANSWER_BYTES_MAX: usize = 15 * 1024;

/// What a command answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `["a", "b"]`.
    Texts(Vec<String>),
    /// `{"name": value, ...}`.
    Fields(Vec<(String, Field)>),
}

/// A value of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// A text; what JSON would have to escape is replaced by `_`.
    Text(String),
    /// A count.
    Count(u64),
    /// A list of counts.
    Counts(Vec<u64>),
    /// A list of texts.
    Texts(Vec<String>),
}

impl Field {
    /// Bytes that it takes in JSON with its name, at most.
    pub fn json_bytes(&self, name: &str) -> usize {
        const NUMBER: usize = 20;
        let value = match self {
            Self::Text(text) => text.len() + 2,
            Self::Count(_) => NUMBER,
            Self::Counts(counts) => 2 + counts.len() * (NUMBER + 1),
            Self::Texts(texts) => 2 + texts.iter().map(|text| text.len() + 3).sum::<usize>(),
        };
        name.len() + 4 + value
    }
}

/// A command and a line of help, which says whether it takes parameters.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    /// `/wirepace/...`, shorter than 56 bytes.
    pub path: &'static CStr,
    /// Shorter than 64 bytes.
    pub help: &'static CStr,
}

/// Answers a command with its parameters (what stands behind the first comma; empty without).
/// `None`: there is no answer, which DPDK shows as `null`.
pub type Answers = dyn Fn(&str, &str) -> Option<Answer> + Send + Sync;

static ANSWERS: OnceLock<Box<Answers>> = OnceLock::new();

/// Why the commands are not there.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A process has one set of commands.
    #[error("the telemetry commands are registered already")]
    Again,
    /// DPDK refused one.
    #[error("DPDK did not take the telemetry command {command}: {source}")]
    Refused {
        /// The command.
        command: String,
        /// What DPDK said.
        source: Errno,
    },
}

/// Registers `commands`, each answered by `answers`, which is called on threads of DPDK as long as the
/// process lives. EAL has to be up, and started with telemetry.
///
/// # Errors
/// See [`TelemetryError`].
pub fn serve(commands: &[Command], answers: Box<Answers>) -> Result<(), TelemetryError> {
    ANSWERS.set(answers).map_err(|_| TelemetryError::Again)?;
    for command in commands {
        // SAFETY: both texts are static and end with NUL; `answer` has the type of a callback.
        let code = unsafe {
            dpdk_sys::rte_telemetry_register_cmd(
                command.path.as_ptr(),
                Some(answer),
                command.help.as_ptr(),
            )
        };
        Errno::check(code).map_err(|source| TelemetryError::Refused {
            command: command.path.to_string_lossy().into_owned(),
            source,
        })?;
    }
    Ok(())
}

/// The callback: DPDK writes `null` when it gives less than 0. No panic may go on into C.
unsafe extern "C" fn answer(
    command: *const c_char,
    parameters: *const c_char,
    data: *mut rte_tel_data,
) -> c_int {
    let answered = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: DPDK gives texts that end with NUL, or no parameters, and both live as long as this
        // call.
        let (command, parameters) = unsafe { (text(command), text(parameters)) };
        let answer = ANSWERS.get()?(&command, &parameters)?;
        // SAFETY: DPDK gives its data for this call and for nobody else.
        Some(unsafe { Data(NonNull::new(data)?).fill(&answer) })
    }));
    match answered {
        Ok(Some(Ok(()))) => 0,
        _ => -1,
    }
}

/// # Safety
/// `text` is null, or ends with NUL and lives.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller says so.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// An answer as DPDK holds it.
struct Data(NonNull<rte_tel_data>);

impl Data {
    /// # Safety
    /// The data lives and nobody else uses it.
    unsafe fn fill(&self, answer: &Answer) -> Result<(), Errno> {
        let data = self.0.as_ptr();
        match answer {
            // SAFETY: the caller says so.
            Answer::Texts(texts) => unsafe { fill_texts(data, texts) },
            Answer::Fields(fields) => {
                // SAFETY: the caller says so.
                Errno::check(unsafe { dpdk_sys::rte_tel_data_start_dict(data) })?;
                for (name, field) in fields {
                    // SAFETY: as above.
                    unsafe { self.add(name, field) }?;
                }
                Ok(())
            }
        }
    }

    /// # Safety
    /// As for [`Data::fill`].
    unsafe fn add(&self, name: &str, field: &Field) -> Result<(), Errno> {
        let (data, name) = (self.0.as_ptr(), plain_name(name));
        match field {
            Field::Text(text) => {
                let text = plain(text);
                // SAFETY: the caller says so; both texts are copied.
                Errno::check(unsafe {
                    dpdk_sys::rte_tel_data_add_dict_string(data, name.as_ptr(), text.as_ptr())
                })
            }
            // SAFETY: the caller says so; the name is copied.
            Field::Count(count) => Errno::check(unsafe {
                dpdk_sys::rte_tel_data_add_dict_u64(data, name.as_ptr(), *count)
            }),
            // SAFETY: the caller says so; each list is given to its filler and to nobody else.
            Field::Counts(counts) => unsafe {
                self.add_list(&name, |list| fill_counts(list, counts))
            },
            // SAFETY: as above.
            Field::Texts(texts) => unsafe { self.add_list(&name, |list| fill_texts(list, texts)) },
        }
    }

    /// # Safety
    /// As for [`Data::fill`].
    unsafe fn add_list(
        &self,
        name: &CStr,
        fill: impl FnOnce(*mut rte_tel_data) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        // SAFETY: no precondition.
        let list = NonNull::new(unsafe { dpdk_sys::rte_tel_data_alloc() });
        let list = list.ok_or(Errno(libc::ENOMEM))?.as_ptr();
        let (data, name) = (self.0.as_ptr(), name.as_ptr());
        // SAFETY: the caller says so of the data. The list is ours until it is added; with `keep` 0 DPDK
        // frees it once it is sent, and what fails before is freed here.
        unsafe {
            let added = fill(list).and_then(|()| {
                Errno::check(dpdk_sys::rte_tel_data_add_dict_container(data, name, list, 0))
            });
            if added.is_err() {
                dpdk_sys::rte_tel_data_free(list);
            }
            added
        }
    }
}

/// # Safety
/// The list lives and nobody else uses it.
unsafe fn fill_texts(list: *mut rte_tel_data, texts: &[String]) -> Result<(), Errno> {
    // SAFETY: the caller says so; the texts are copied.
    unsafe {
        Errno::check(dpdk_sys::rte_tel_data_start_array(
            list,
            dpdk_sys::rte_tel_value_type_RTE_TEL_STRING_VAL,
        ))?;
        texts.iter().try_for_each(|text| {
            Errno::check(dpdk_sys::rte_tel_data_add_array_string(list, plain(text).as_ptr()))
        })
    }
}

/// # Safety
/// The list lives and nobody else uses it.
unsafe fn fill_counts(list: *mut rte_tel_data, counts: &[u64]) -> Result<(), Errno> {
    // SAFETY: the caller says so.
    unsafe {
        Errno::check(dpdk_sys::rte_tel_data_start_array(
            list,
            dpdk_sys::rte_tel_value_type_RTE_TEL_U64_VAL,
        ))?;
        counts
            .iter()
            .try_for_each(|count| Errno::check(dpdk_sys::rte_tel_data_add_array_u64(list, *count)))
    }
}

/// A text that DPDK can put into JSON as it is.
fn plain(text: &str) -> CString {
    only(text, |c| c == ' ' || c.is_ascii_graphic() && c != '"' && c != '\\')
}

/// A name that DPDK takes.
fn plain_name(name: &str) -> CString {
    only(name, |c| c.is_ascii_alphanumeric() || c == '_' || c == '/')
}

fn only(text: &str, fits: impl Fn(char) -> bool) -> CString {
    let text = text.chars().map(|c| if fits(c) { c } else { '_' });
    let text: String = text.take(TEXT_BYTES_MAX).collect();
    // No NUL is left.
    CString::new(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_made_plain_and_fit() {
        let plain = |text: &str| super::plain(text).into_string().unwrap();
        assert_eq!(plain("port=venue-a,class=orders"), "port=venue-a,class=orders");
        assert_eq!(super::plain_name("port=a-b/c_1").to_bytes(), b"port_a_b/c_1");
        assert_eq!(plain("say \"hi\"\\\n\0\u{e4}"), "say _hi_____");
        assert_eq!(plain(&"x".repeat(500)).len(), TEXT_BYTES_MAX);
    }

    #[test]
    fn bytes_of_a_field_are_counted_with_its_name() {
        let bytes = |field: Field| field.json_bytes("name");
        assert_eq!(bytes(Field::Text("text".into())), "\"name\":\"text\",".len());
        assert!(bytes(Field::Count(u64::MAX)) >= "\"name\":18446744073709551615,".len());
        let counts = Field::Counts(vec![u64::MAX; 2]);
        assert!(bytes(counts) >= "\"name\":[18446744073709551615,18446744073709551615],".len());
        let texts = Field::Texts(vec!["a".into(), "bc".into()]);
        assert!(bytes(texts) >= "\"name\":[\"a\",\"bc\"],".len());
    }
}
