//! The files that pages refer to, embedded, each named by its content so that it can be kept
//! for ever by whoever fetched it.

use std::fmt::Write as _;
use std::sync::LazyLock;

use sha2::{Digest as _, Sha256};

/// One embedded file.
#[derive(Debug)]
pub(super) struct Asset {
    /// Its address, `/assets/page.<hash>.css`.
    pub(super) href: String,
    /// Media type.
    pub(super) kind: &'static str,
    /// Content.
    pub(super) body: &'static [u8],
}

impl Asset {
    fn new(stem: &str, extension: &str, kind: &'static str, body: &'static [u8]) -> Self {
        let mut hash = String::new();
        for byte in Sha256::digest(body).iter().take(6) {
            write!(hash, "{byte:02x}").unwrap_or_default();
        }
        Self { href: format!("/assets/{stem}.{hash}.{extension}"), kind, body }
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Assets {
    /// Styles; always there.
    pub(super) style: Asset,
    /// Scripts; `None` in a build without Node.js.
    pub(super) script: Option<Asset>,
    /// The sign in the browser's tab.
    pub(super) icon: Asset,
}

/// Embedded by `build.rs`.
pub(super) static ASSETS: LazyLock<Assets> = LazyLock::new(|| {
    let script = include_bytes!(concat!(env!("OUT_DIR"), "/page.js")).as_slice();
    Assets {
        style: Asset::new(
            "page",
            "css",
            "text/css; charset=utf-8",
            include_bytes!(concat!(env!("OUT_DIR"), "/page.css")),
        ),
        script: (!script.is_empty())
            .then(|| Asset::new("page", "js", "text/javascript; charset=utf-8", script)),
        icon: Asset::new("sign", "svg", "image/svg+xml", include_bytes!("../templates/sign.svg")),
    }
});

impl Assets {
    /// By its address.
    pub(super) fn find(&self, href: &str) -> Option<&Asset> {
        [Some(&self.style), self.script.as_ref(), Some(&self.icon)]
            .into_iter()
            .flatten()
            .find(|asset| asset.href == href)
    }
}
