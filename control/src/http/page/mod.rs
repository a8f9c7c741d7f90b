//! The page at `/`: one file, which asks nobody but its own origin.

use axum::http::header;
use axum::response::{Html, IntoResponse};

/// Its parts lie beside this file as what they are; they are sent as one.
const PAGE: &str = concat!(
    "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n",
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n",
    "<meta name=\"color-scheme\" content=\"light dark\">\n",
    "<title>wirepace</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>\n",
    include_str!("page.css"),
    "</style>\n</head>\n<body>\n",
    include_str!("page.html"),
    "<script>\n",
    include_str!("page.js"),
    "</script>\n</body>\n</html>\n",
);

/// What the browser holds the page to, whatever stands in it: what comes with it, and a stream from here.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

pub(super) async fn page() -> impl IntoResponse {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-cache"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, Html(PAGE))
}
