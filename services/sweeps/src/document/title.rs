//! Names of sweeps and experiments.

use documents::Field;
use vocabulary::names;

/// The experiment of a sweep that names none; it always exists.
pub(super) const DEFAULT_EXPERIMENT: &str = "Default";

pub(super) fn read_title(field: &Field<'_>) -> Option<String> {
    let title = field.text()?;
    if let Some(wrong) = names::title(title) {
        field.refuse("BadName", wrong);
    }
    Some(title.to_owned())
}
