//! How wide a table may be: cells that can be long give way.

/// What a long cell has where nobody looks at a terminal, and what it keeps on a narrow one.
const PIPED: usize = 80;
const LEAST: usize = 24;
/// Columns between two cells.
const GAP: usize = 2;

/// The columns of the terminal; `None` where the output goes elsewhere.
pub fn of_terminal() -> Option<usize> {
    let terminal = console::Term::stdout();
    let size = terminal.size_checked().filter(|_| terminal.is_term());
    size.map(|(_, columns)| usize::from(columns))
}

/// Cuts the cells of those columns that may be cut, so that a row is no wider than the terminal.
pub fn fit(table: &mut [Vec<String>], cut: &[bool], terminal: Option<usize>) {
    let is_cut = |place: usize| cut.get(place).copied().unwrap_or_default();
    let columns = table.first().map_or(0, Vec::len);
    let width = |place: usize| table.iter().map(|row| row[place].chars().count()).max().unwrap_or_default();
    let others: usize = (0..columns).filter(|place| !is_cut(*place)).map(|place| width(place) + GAP).sum();
    let long = (0..columns).filter(|place| is_cut(*place)).count().max(1);
    let room = terminal.map_or(PIPED, |all| (all.saturating_sub(others) / long).saturating_sub(GAP).max(LEAST));
    for row in table {
        for (_, cell) in row.iter_mut().enumerate().filter(|(place, _)| is_cut(*place)) {
            if cell.chars().count() > room {
                *cell = format!("{}…", cell.chars().take(room - 1).collect::<String>().trim_end());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_cell_gives_way_and_no_other() {
        let table = || {
            vec![["a".repeat(30), "reason".to_owned(), "id".to_owned()].to_vec(), {
                ["b".to_owned(), "x".repeat(200), "y".repeat(10)].to_vec()
            }]
        };
        let fitted = |terminal| {
            let mut table = table();
            fit(&mut table, &[false, true, false], terminal);
            assert_eq!((table[0][0].len(), table[1][2].len()), (30, 10));
            table[1][1].chars().count()
        };
        assert_eq!(fitted(None), PIPED);
        assert_eq!(fitted(Some(100)), 100 - 32 - 12 - 2);
        assert_eq!(fitted(Some(40)), LEAST, "something is to be read of it");
        assert_eq!(fitted(Some(400)), 200);
    }
}
