//! `trialog explain`: the reference of the documents, from the binary itself.

use clap::Args;

use super::Failure;

/// Arguments of `trialog explain`.
#[derive(Args)]
pub struct Explain {
    /// What to explain, e.g. sweep.early_termination.asha; absent, which documents there are.
    path: Option<String>,
}

/// Prints what the path leads to.
pub fn explain(arguments: &Explain) -> Result<(), Failure> {
    let path = arguments.path.as_deref().unwrap_or_default();
    let text = documents::reference::explain(path).map_err(Failure::Usage)?;
    super::stdout::bytes_as_they_are(text.as_bytes());
    Ok(())
}
