//! How wide a table may be: the least useful columns give way first, then cells that can be long.

/// What a long cell has where nobody looks at a terminal, and what it keeps on a narrow one.
const PIPED: usize = 80;
const LEAST: usize = 24;
/// Columns between two cells.
const GAP: usize = 2;
/// The columns that are left out first where a table is too wide, in this order: what is long, and what is looked up
/// where it is needed. Then those at the right go.
const LEAST_USEFUL: [&str; 9] =
    ["run_id", "sweep_id", "experiment", "ended", "created", "attempt", "last_value", "steps", "path"];
/// Columns at the left that stay: what a row is called by, and how it stands.
const KEPT: usize = 2;

/// The columns of the terminal; `None` where the output goes elsewhere. `COLUMNS` says something else than the terminal
/// itself.
pub fn of_terminal() -> Option<usize> {
    let terminal = console::Term::stdout();
    if !terminal.is_term() {
        return None;
    }
    let wanted = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).filter(|columns| *columns > 0);
    wanted.or_else(|| terminal.size_checked().map(|(_, columns)| usize::from(columns)))
}

/// The columns of a table that are left out, so that a row is no wider than the terminal when those that may be cut are
/// cut. The first row has the names.
pub fn left_out(table: &[Vec<String>], cut: &[bool], terminal: Option<usize>) -> Vec<usize> {
    let (Some(room), Some(names)) = (terminal, table.first()) else { return Vec::new() };
    let width = |place: usize| table.iter().map(|row| row[place].chars().count()).max().unwrap_or_default();
    let least = |place: usize| if cut[place] { width(place).min(LEAST) } else { width(place) };
    let goes = |place: &usize| *place >= KEPT && !cut[*place];
    let named = |name: &&str| names.iter().position(|known| known.eq_ignore_ascii_case(name)).filter(goes);
    let mut order: Vec<usize> = LEAST_USEFUL.iter().filter_map(named).collect();
    let others = (0..names.len()).rev().filter(|place| goes(place) && !order.contains(place));
    order.extend(others.collect::<Vec<_>>());
    let mut all: usize = (0..names.len()).map(|place| least(place) + GAP).sum();
    let mut left_out = Vec::new();
    for place in order {
        // Behind the last column nothing is written.
        if all <= room + GAP {
            break;
        }
        all -= least(place) + GAP;
        left_out.push(place);
    }
    left_out
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
    fn the_least_useful_columns_are_left_out_until_a_row_fits() {
        // A row that is broken by the terminal cannot be read down its columns.
        let names = ["INDEX", "STATE", "VAL_ACC", "STEPS", "LR", "REASON", "RUN_ID"];
        let cells = ["10", "EarlyStopped", "0.91", "7", "0.0125", &"r".repeat(90), &"x".repeat(30)];
        let table = [names, cells].map(|row| row.map(str::to_owned).to_vec());
        let cut = names.map(|name| name == "REASON");
        let left_out = |room| {
            let places = left_out(&table, &cut, room);
            places.into_iter().map(|place| names[place]).collect::<Vec<_>>()
        };
        assert_eq!(left_out(None), [""; 0], "a file has room");
        assert_eq!(left_out(Some(200)), [""; 0]);
        assert_eq!(left_out(Some(80)), ["RUN_ID"]);
        assert_eq!(left_out(Some(65)), ["RUN_ID", "STEPS"]);
        assert_eq!(left_out(Some(20)), ["RUN_ID", "STEPS", "LR", "VAL_ACC"], "the reason and the state stay");
        let mut fitted: Vec<Vec<String>> = table.iter().map(|row| row[..6].to_vec()).collect();
        fit(&mut fitted, &cut[..6], Some(80));
        assert!(super::super::aligned(&fitted).iter().all(|line| line.chars().count() <= 80), "{fitted:?}");
    }

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
