//! The dashboard `/ui/`: what the daemon serves of it, and that it is built from its sources.

use std::{collections::BTreeMap, fs, path::Path};

use http::Response;
use ipvsd::model::Sha256;

use super::{
    gate::start,
    harness::test_config,
    pages::{get, header, unzip},
};

const WEB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/web");
const GZIP: (&str, &str) = ("accept-encoding", "gzip");
/// What the page may cost over the wire, in bytes.
const MAX_BYTES: usize = 150 * 1024;

/// Names of the files that a text loads: the values of `src` and `href`.
fn loaded(text: &str) -> Vec<&str> {
    let attributes = ["src=\"", "href=\""];
    let values = attributes
        .iter()
        .flat_map(|attribute| text.split(attribute).skip(1));
    let names = values.filter_map(|rest| rest.split('"').next());
    names.filter(|name| !name.starts_with("../")).collect()
}

fn text(response: &Response<bytes::Bytes>) -> String {
    String::from_utf8(response.body().to_vec()).unwrap()
}

/// The files from which the page is built, with their paths. web/build.mjs has the same list.
fn sources(directory: &Path, prefix: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let is_source = !["dist", "node_modules", "tests"].contains(&name.as_str());
        let path = format!("{prefix}{name}");
        if entry.file_type().unwrap().is_dir() {
            if !prefix.is_empty() || is_source {
                sources(&entry.path(), &format!("{path}/"), found);
            }
        } else {
            found.insert(path, fs::read(entry.path()).unwrap());
        }
    }
}

#[test]
fn the_committed_page_is_built_from_its_sources() {
    let mut files = BTreeMap::new();
    sources(Path::new(WEB), "", &mut files);
    assert!(files.contains_key("src/main.tsx") && files.contains_key("package-lock.json"));
    let mut lines: Vec<_> = files
        .iter()
        .map(|(path, bytes)| format!("{}  {path}\n", Sha256::of(bytes)))
        .collect();
    lines.sort();
    let digest = Sha256::of(lines.concat().as_bytes()).to_string();
    let recorded = fs::read_to_string(format!("{WEB}/dist/sources.sha256")).unwrap();
    assert_eq!(
        recorded.trim(),
        digest,
        "web/dist is not built from web/src: cd web && npm ci && npm run build"
    );
}

#[tokio::test]
async fn the_page_is_small_loads_only_files_of_the_daemon_and_restricts_its_scripts() {
    let daemon = start(&test_config()).await;
    let page = get(&daemon, "/ui/", &[GZIP]).await;
    assert_eq!(page.status(), 200);
    assert_eq!(header(&page, "content-type"), "text/html; charset=utf-8");
    assert_eq!(header(&page, "cache-control"), "no-cache");
    let policy = header(&page, "content-security-policy");
    assert_eq!(
        policy,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let html = String::from_utf8(unzip(&page)).unwrap();
    // The policy would refuse both.
    assert!(
        !html.contains("<style") && !html.contains("style="),
        "{html}"
    );
    assert!(
        html.matches("<script").count() == 1 && html.contains("src=\"app-"),
        "{html}"
    );
    let mut bytes = page.body().len();
    let names = loaded(&html);
    assert_eq!(names.len(), 3, "{names:?}");
    for name in names {
        let path = format!("/ui/{name}");
        let file = get(&daemon, &path, &[GZIP]).await;
        assert_eq!(file.status(), 200, "{path}");
        assert!(
            header(&file, "cache-control").contains("immutable"),
            "{path}"
        );
        let plain = get(&daemon, &path, &[]).await;
        assert_eq!(unzip(&file), &plain.body()[..], "{path}");
        assert_eq!(header(&plain, "content-encoding"), "", "{path}");
        assert_ne!(header(&plain, "etag"), header(&file, "etag"), "{path}");
        // Namespaces of SVG and MathML are names, and are not loaded.
        let text = text(&plain).replace("http://www.w3.org/", "");
        for scheme in ["http://", "https://", "url(//", "\"//"] {
            assert!(!text.contains(scheme), "{path} refers to another host");
        }
        bytes += file.body().len();
    }
    assert!(bytes <= MAX_BYTES, "{bytes} bytes");
}

#[tokio::test]
async fn a_browser_keeps_the_page_and_asks_only_whether_it_has_changed() {
    let daemon = start(&test_config()).await;
    for headers in [&[GZIP][..], &[]] {
        let page = get(&daemon, "/ui/", headers).await;
        let tag = header(&page, "etag").to_owned();
        let mut asked = headers.to_vec();
        asked.push(("if-none-match", &tag));
        let same = get(&daemon, "/ui/", &asked).await;
        assert_eq!(same.status(), 304);
        assert!(same.body().is_empty());
        // It replaces the policy of the page that the browser has.
        let policy = header(&page, "content-security-policy");
        assert_eq!(header(&same, "content-security-policy"), policy);
        assert_eq!(header(&same, "etag"), tag);
        let other = [("if-none-match", "\"other\"")];
        assert_eq!(get(&daemon, "/ui/", &other).await.status(), 200);
    }
    let licences = get(&daemon, "/ui/licenses.txt", &[]).await;
    assert!(text(&licences).contains("MIT"), "{licences:?}");
    for path in [
        "/ui/nothing.js",
        "/ui/a/b",
        "/ui/..%2fCargo.toml",
        "/ui/sources.sha256",
    ] {
        assert_eq!(get(&daemon, path, &[]).await.status(), 404, "{path}");
    }
}

#[tokio::test]
async fn a_browser_is_sent_to_the_page_and_a_program_gets_the_index() {
    let daemon = start(&test_config()).await;
    for accept in [
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "application/json;q=0.5, text/html",
    ] {
        let response = get(&daemon, "/", &[("accept", accept)]).await;
        assert_eq!(response.status(), 303, "{accept}");
        assert_eq!(header(&response, "location"), "ui/");
        assert_eq!(header(&response, "vary"), "accept");
    }
    for accept in [
        "*/*",
        "application/json",
        "application/json, text/html",
        "text/html;q=0",
    ] {
        let response = get(&daemon, "/", &[("accept", accept)]).await;
        assert_eq!(response.status(), 200, "{accept}");
        assert_eq!(header(&response, "content-type"), "application/json");
    }
    assert_eq!(get(&daemon, "/", &[]).await.status(), 200);
    let without_slash = get(&daemon, "/ui", &[]).await;
    assert_eq!(without_slash.status(), 303);
    assert_eq!(header(&without_slash, "location"), "ui/");
}
