//! What may be said on every client command.

use clap::Args;

use super::format::Format;

/// Options of every client command.
#[derive(Args, Clone, Debug, Default)]
pub struct Common {
    /// Where the server is; default: TRIALOG_API_URL, .trialog.toml or trialog-data, here or above.
    #[arg(long, global = true)]
    pub url: Option<String>,
    /// The token; default: TRIALOG_TOKEN, .trialog.toml, trialog-data/admin.token.
    #[arg(long, global = true, hide_env_values = true)]
    pub token: Option<String>,
    /// A PEM file with the authority that signed the server's certificate, instead of those that this machine knows.
    #[arg(long, global = true, env = "TRIALOG_CA_FILE")]
    pub ca_file: Option<std::path::PathBuf>,
    /// The workspace.
    #[arg(long, short = 'w', global = true, env = "TRIALOG_WORKSPACE_NAME")]
    pub workspace: Option<String>,
    /// What to print.
    #[arg(long, short = 'o', global = true, value_enum, default_value_t)]
    pub output: Format,
    /// The same as -o json.
    #[arg(long, global = true)]
    pub json: bool,
}

impl Common {
    /// What to print, whichever way it was asked for.
    pub fn format(&self) -> Format {
        if self.json { Format::Json } else { self.output }
    }

    /// Whether JSON was asked for, in either spelling.
    pub fn is_json(&self) -> bool {
        self.format() == Format::Json
    }
}
