//! Tables with aligned columns, by display width.

use super::printable;
use std::borrow::Cow;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The side that a column's cells stand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Align {
    /// Words.
    Left,
    /// Figures.
    Right,
}

/// A column: its heading, its side, and how far it may be shortened.
#[derive(Clone, Debug)]
pub struct Column {
    heading: Cow<'static, str>,
    align: Align,
    least: Option<usize>,
    keep: Keep,
    optional: bool,
}

/// Which part of a shortened cell stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    /// Names differ at their end.
    End,
    /// Sentences say the most at their start.
    Start,
}

impl Column {
    /// A column of words.
    pub fn left(heading: impl Into<Cow<'static, str>>) -> Self {
        Self {
            heading: heading.into(),
            align: Align::Left,
            least: None,
            keep: Keep::End,
            optional: false,
        }
    }

    /// A column of figures.
    pub fn right(heading: impl Into<Cow<'static, str>>) -> Self {
        Self {
            heading: heading.into(),
            align: Align::Right,
            least: None,
            keep: Keep::End,
            optional: false,
        }
    }

    /// The column's cells may be shortened to this width where the terminal is narrow; their end
    /// stays, as names differ there.
    pub fn shrink_to(self, least: usize) -> Self {
        Self { least: Some(least), ..self }
    }

    /// As [`Self::shrink_to`], but the start stays: for sentences.
    pub fn cut_to(self, least: usize) -> Self {
        Self { least: Some(least), keep: Keep::Start, ..self }
    }

    /// The column is left out where the terminal is too narrow even for shortened cells; the last
    /// such column goes first.
    pub fn optional(self) -> Self {
        Self { optional: true, ..self }
    }
}

/// Rows under headings.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

const GAP: usize = 2;

impl Table {
    /// A table without rows.
    pub fn new(columns: Vec<Column>) -> Self {
        Self { columns, rows: vec![] }
    }

    /// Adds a row, one cell a column; control characters are replaced.
    ///
    /// # Panics
    /// For another number of cells than columns.
    pub fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.columns.len(), "one cell a column");
        self.rows.push(cells.iter().map(|cell| printable(cell).into_owned()).collect());
    }

    /// The table as lines, each ended by a line feed. In a terminal of `width` columns, cells that
    /// may be shortened are, from the widest column on, and `…` stands for what is left out; where
    /// that is not enough, optional columns go. Without a width, all is printed in full.
    pub fn render(&self, width: Option<usize>) -> String {
        let full = self.full_widths();
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        let mut widths = full.clone();
        if let Some(limit) = width {
            let least = |i: &usize| self.columns[*i].least.map_or(full[*i], |l| l.min(full[*i]));
            while shown.iter().map(least).sum::<usize>() + gaps(&shown) > limit {
                let Some(at) = shown.iter().rposition(|&i| self.columns[i].optional) else { break };
                shown.remove(at);
            }
            self.squeeze(&mut widths, &shown, limit);
        }
        let headings = self.columns.iter().map(|c| c.heading.to_string()).collect();
        let mut out = String::new();
        for cells in std::iter::once(&headings).chain(&self.rows) {
            let mut line = String::new();
            for &i in &shown {
                let column = &self.columns[i];
                let cell = shorten(&cells[i], widths[i], column.keep);
                let pad = " ".repeat(widths[i] - cell.width());
                match column.align {
                    Align::Left => line.extend([cell.as_str(), &pad]),
                    Align::Right => line.extend([pad.as_str(), &cell]),
                }
                line.push_str(&" ".repeat(GAP));
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }

    fn full_widths(&self) -> Vec<usize> {
        let widest = |(i, column): (usize, &Column)| {
            let cells = self.rows.iter().map(|row| row[i].width());
            cells.chain([column.heading.width()]).max().unwrap_or(0)
        };
        self.columns.iter().enumerate().map(widest).collect()
    }

    /// Narrows the shown columns that may be shortened, the widest first, until all fit.
    fn squeeze(&self, widths: &mut [usize], shown: &[usize], limit: usize) {
        for &i in shown {
            if let Some(least) = self.columns[i].least {
                widths[i] = widths[i].min(limit.max(least));
            }
        }
        let total = shown.iter().map(|&i| widths[i]).sum::<usize>() + gaps(shown);
        for _ in limit..total {
            let room = |i: &usize| self.columns[*i].least.is_some_and(|least| widths[*i] > least);
            let Some(i) = shown.iter().copied().filter(room).max_by_key(|&i| widths[i]) else {
                break;
            };
            widths[i] -= 1;
        }
    }
}

/// The blanks between so many columns.
fn gaps(shown: &[usize]) -> usize {
    GAP * shown.len().saturating_sub(1)
}

/// The text, or `…` and as much of the part to keep as fits.
fn shorten(text: &str, width: usize, keep: Keep) -> String {
    if text.width() <= width {
        return text.into();
    }
    let mut used = 1; // The ellipsis.
    let fits = |c: &char| {
        used += c.width().unwrap_or(0);
        used <= width
    };
    match keep {
        Keep::Start => text.chars().take_while(fits).chain(['…']).collect(),
        Keep::End => {
            if let Some(kept) = with_numbers(text, width) {
                return kept;
            }
            let mut kept: Vec<char> = text.chars().rev().take_while(fits).collect();
            kept.push('…');
            kept.iter().rev().collect()
        }
    }
}

/// The end of a name behind the numbers that stand before it: `model.layers.11.self_attn.v_proj.weight`
/// as `…11…v_proj.weight`, for layers differ by them. `None` where none is cut off, or where they would
/// leave less than half the width to the end.
fn with_numbers(name: &str, width: usize) -> Option<String> {
    if !name.is_ascii() {
        return None;
    }
    let mut end = width.checked_sub(1)?;
    loop {
        let cut = &name[..name.len() - end];
        // A number that goes on behind the cut is shown there.
        let words = cut.split(|c: char| !c.is_ascii_alphanumeric());
        let numbers = words.filter(|w| !w.is_empty() && w.bytes().all(|b| b.is_ascii_digit()));
        let kept: String = numbers.map(|number| format!("…{number}")).collect();
        let left = width.checked_sub(kept.width() + 1)?;
        if kept.is_empty() || left < width / 2 {
            return None;
        }
        if left >= end {
            return Some(format!("{kept}…{}", &name[name.len() - end..]));
        }
        end = left;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shortened_names_keep_the_numbers_of_their_layers() {
        let name = "model.layers.11.self_attn.v_proj.weight";
        assert_eq!(shorten(name, 39, Keep::End), name);
        assert_eq!(shorten(name, 30, Keep::End), "…rs.11.self_attn.v_proj.weight");
        assert_eq!(shorten(name, 20, Keep::End), "…11…tn.v_proj.weight");
        let name = "encoder.stages.1.layers.0.layer.2.convolution.weight";
        assert_eq!(shorten(name, 28, Keep::End), "…1…0…er.2.convolution.weight");
        // Too narrow for both.
        assert_eq!(shorten(name, 8, Keep::End), "….weight");
    }

    fn table(rows: &[[&str; 3]]) -> Table {
        let columns = vec![
            Column::left("tensor").shrink_to(6),
            Column::right("bytes"),
            Column::left("note").cut_to(4),
        ];
        let mut table = Table::new(columns);
        rows.iter().for_each(|row| table.row(row.map(String::from).to_vec()));
        table
    }

    #[test]
    fn columns_align_by_display_width() {
        let table =
            table(&[["model.layers.10.q", "1,024", "ok"], ["層.重み", "7", ""], ["é", "12", "x"]]);
        insta::assert_snapshot!(table.render(None), @r"
        tensor             bytes  note
        model.layers.10.q  1,024  ok
        層.重み                7
        é                     12  x
        ");
    }

    #[test]
    fn a_narrow_terminal_shortens_the_widest_and_keeps_the_ends() {
        let table = table(&[
            ["model.layers.10.q_proj", "1,024", "falls back"],
            ["層の重みの長い名前", "7", ""],
        ]);
        insta::assert_snapshot!(table.render(Some(30)), @r"
        tensor       bytes  note
        ….10.q_proj  1,024  falls back
        …の長い名前      7
        ");
        insta::assert_snapshot!(table.render(Some(1)), @r"
        tensor  bytes  note
        …_proj  1,024  fal…
        …名前       7
        ");
    }

    #[test]
    fn optional_columns_go_where_nothing_else_helps() {
        let columns = vec![
            Column::left("tensor").shrink_to(6),
            Column::right("bytes"),
            Column::right("cosine").optional(),
            Column::right("entropy").optional(),
        ];
        let mut table = Table::new(columns);
        table.row(["a.long.name", "12", "0.99", "7.5"].map(String::from).to_vec());
        insta::assert_snapshot!(table.render(Some(25)), @r"
        tensor      bytes  cosine
        …long.name     12    0.99
        ");
        insta::assert_snapshot!(table.render(Some(10)), @r"
        tensor  bytes
        ….name     12
        ");
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_terminal(names in prop::collection::vec(".{0,30}", 0..6), width in 20usize..60) {
            let rows: Vec<[&str; 3]> = names.iter().map(|n| [n.as_str(), "12,345", n.as_str()]).collect();
            for line in table(&rows).render(Some(width)).lines() {
                prop_assert!(line.width() <= width, "{line:?}");
            }
        }
    }
}
