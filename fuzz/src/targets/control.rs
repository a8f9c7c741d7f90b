//! Requests on the control socket, a line of JSON each.

use control::request::Request;

/// Those that docs/operations.md shows.
pub(super) fn corpus() -> Vec<Vec<u8>> {
    let shown =
        super::files(&["docs"]).into_iter().filter(|(path, _)| path.ends_with("operations.md"));
    let requests = |(_, text): (_, Vec<u8>)| -> Vec<Vec<u8>> {
        let text = String::from_utf8_lossy(&text).replace('\n', " ");
        let quoted = text.split('`').filter(|quoted| quoted.starts_with("{\"cmd\""));
        quoted.map(|request| request.as_bytes().to_vec()).collect()
    };
    shown.flat_map(requests).collect()
}

pub(super) fn run(bytes: &[u8]) -> String {
    match Request::parse(bytes) {
        Ok(request) => {
            // A client writes what the server reads.
            let written = serde_json::to_vec(&request).expect("a request can be written");
            assert_eq!(Request::parse(&written).as_ref(), Ok(&request));
            let name = format!("{request:?}");
            name.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
        }
        Err(why) => {
            assert!(why.starts_with("not a request: "), "{why}");
            super::words(&why)
        }
    }
}
