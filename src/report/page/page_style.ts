/** The style sheet of report.html: light and dark, from phone to desktop, no outside fonts. */
export const PAGE_STYLE = `
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --line: #e1e4ea; --text: #1b1f27; --quiet: #5a6372;
  --accent: #2456d6; --good: #13713f; --good-back: #e2f5ea; --bad: #b3261e; --bad-back: #fdeceb;
  --warn: #8a5300; --warn-back: #fff3dc; --code: #eef0f4; --grid: #e9ecf1;
  --shadow: 0 1px 2px rgb(20 25 40 / 6%), 0 4px 14px rgb(20 25 40 / 4%);
  --s0: #2456d6; --s1: #d2640a; --s2: #0f8a5f; --s3: #b4329c; --s4: #6a46d9; --s5: #0b84a5;
  --s6: #7c7a00; --s7: #c22f3d;
  --hit1: #eef8f2; --hit2: #ddf2e6; --hit3: #c9ead7; --hit4: #b4e1c7; --hit5: #9fd8b7;
  --miss1: #fdf0ef; --miss2: #fbdfdc; --miss3: #f8ccc8; --miss4: #f5b8b2; --miss5: #f2a49d;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0f1217; --card: #181c23; --line: #2b313c; --text: #e8ebf1; --quiet: #9ba5b5;
    --accent: #82a8ff; --good: #6fd6a0; --good-back: #14301f; --bad: #ff9a92; --bad-back: #3a1917;
    --warn: #ffc76b; --warn-back: #33260e; --code: #222833; --grid: #252b35;
    --shadow: none;
    --s0: #82a8ff; --s1: #ff9f5a; --s2: #4fd1a1; --s3: #ee8bdc; --s4: #b39dff; --s5: #58c7e6;
    --s6: #d6d05a; --s7: #ff8a93;
    --hit1: #16241d; --hit2: #17301f; --hit3: #183d27; --hit4: #1a4a2f; --hit5: #1c5737;
    --miss1: #2a1c1d; --miss2: #391f20; --miss3: #492323; --miss4: #5a2726; --miss5: #6b2b29;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  font-variant-numeric: tabular-nums;
}
main, header.top { max-width: 1200px; margin: 0 auto; padding: 0 20px; }
header.top { padding-top: 28px; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 40px 0 12px; }
h3 { font-size: .95rem; margin: 0 0 8px; overflow-wrap: anywhere; }
p { margin: 0 0 8px; }
.quiet { color: var(--quiet); }
.titleline { display: flex; flex-wrap: wrap; gap: 8px 14px; align-items: center; }
.badge {
  display: inline-block; border-radius: 999px; padding: 1px 10px; font-size: .82rem;
  font-weight: 600; background: var(--code); color: var(--quiet); white-space: nowrap;
}
.badge.good { background: var(--good-back); color: var(--good); }
.badge.bad { background: var(--bad-back); color: var(--bad); }
.badge.warn { background: var(--warn-back); color: var(--warn); }
progress {
  appearance: none; display: block; width: 100%; height: 6px; border: 0; border-radius: 3px;
  margin: 14px 0 0; background: var(--line); overflow: hidden;
}
progress::-webkit-progress-bar { background: var(--line); }
progress::-webkit-progress-value { background: var(--accent); }
progress::-moz-progress-bar { background: var(--accent); }
.card {
  background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 16px;
  box-shadow: var(--shadow); min-width: 0;
}
.tiles {
  display: grid; gap: 12px; margin: 20px 0 0; padding: 0;
  grid-template-columns: repeat(auto-fill, minmax(150px, 1fr));
}
.tile { padding: 12px 14px; }
.tile dt { color: var(--quiet); font-size: .82rem; overflow-wrap: anywhere; }
.tile dd { margin: 2px 0 0; font-size: 1.35rem; font-weight: 650; line-height: 1.2; }
.tile dd small { display: block; font-size: .78rem; font-weight: 400; color: var(--quiet); margin-top: 3px; }
.notice {
  border-radius: 10px; padding: 10px 14px; margin: 12px 0 0; border-left: 4px solid;
  white-space: pre-wrap; overflow-wrap: anywhere;
}
.notice.warn { background: var(--warn-back); border-color: var(--warn); }
.notice.bad { background: var(--bad-back); border-color: var(--bad); }
.notice .quiet { font-size: .85rem; }
.sectionline { display: flex; flex-wrap: wrap; gap: 8px 20px; align-items: center; justify-content: space-between; margin: 40px 0 12px; }
.sectionline h2 { margin: 0; }
.controls { display: flex; flex-wrap: wrap; gap: 6px 18px; align-items: center; font-size: .88rem; }
.controls label { display: inline-flex; gap: 8px; align-items: center; }
input[type=range] { accent-color: var(--accent); width: 130px; }
input[type=checkbox] { accent-color: var(--accent); width: 16px; height: 16px; }
.charts { display: grid; gap: 14px; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); }
.chart { padding: 14px 14px 10px; margin: 0; }
.chart figcaption { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 4px 10px; align-items: center; }
.chart h3 { margin: 0; }
.chart .tools { display: flex; gap: 10px; align-items: center; font-size: .82rem; color: var(--quiet); }
.chart .plot { height: 220px; margin-top: 8px; overflow: hidden; }
.chart .axis { margin: 8px 0 -6px; font-size: .78rem; color: var(--quiet); }
.chart .axis.steps { margin: 0; text-align: right; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 6px; margin-top: 6px; }
button {
  font: inherit; color: inherit; background: none; border: 1px solid var(--line);
  border-radius: 8px; padding: 3px 9px; cursor: pointer;
}
button:hover { border-color: var(--quiet); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.legend button { font-size: .82rem; display: inline-flex; gap: 7px; align-items: center; max-width: 100%; text-align: left; }
.legend button i { flex: none; width: 12px; height: 4px; border-radius: 2px; }
.legend button span { overflow-wrap: anywhere; }
.legend button code { color: var(--quiet); font-size: .76rem; overflow-wrap: anywhere; }
.legend button[aria-pressed=false] { opacity: .5; text-decoration: line-through; }
.tools button[aria-pressed=true] { background: var(--accent); color: var(--card); border-color: var(--accent); }
.tools button { padding: 1px 8px; font-size: .8rem; }
.cards { display: grid; gap: 14px; grid-template-columns: repeat(auto-fill, minmax(min(250px, 100%), 1fr)); }
.cards.wide { grid-template-columns: repeat(auto-fill, minmax(min(440px, 100%), 1fr)); }
.sample { display: flex; flex-direction: column; gap: 8px; }
.pictures { display: flex; flex-wrap: wrap; gap: 6px; }
.pictures img {
  height: 120px; max-width: 100%; object-fit: contain; border-radius: 8px; background: var(--code);
  border: 1px solid var(--line);
}
.nopicture { color: var(--quiet); font-size: .85rem; }
.question { font-weight: 600; white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
dl.answers { display: grid; grid-template-columns: max-content 1fr; gap: 2px 12px; margin: 0; font-size: .95rem; }
dl.answers dt { color: var(--quiet); }
dl.answers dd { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; min-width: 0; }
.long { max-height: 15em; overflow: auto; }
.completion { border-top: 1px solid var(--line); padding: 10px 0; }
.completion p { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0 0 6px; }
.chips { display: flex; flex-wrap: wrap; gap: 5px; font-size: .82rem; }
.chip { background: var(--code); border-radius: 6px; padding: 1px 8px; overflow-wrap: anywhere; }
.chip b { font-weight: 650; }
.chip.good { background: var(--good-back); color: var(--good); }
.chip.bad { background: var(--bad-back); color: var(--bad); }
.filters { margin: 0 0 12px; }
.filters[hidden] { display: none; }
select {
  font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; padding: 3px 8px; max-width: 100%;
}
.more { margin: 14px 0 0; text-align: center; }
.sample[hidden] { display: none; }
table.confusion { width: auto; }
.confusion th, .confusion td {
  padding: 4px 9px; text-align: center; border: 1px solid var(--line); min-width: 2.4em;
  max-width: 10em; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; overflow-wrap: normal;
}
.confusion tbody th { text-align: right; }
.confusion td:first-child { min-width: 0; }
.confusion .hit.shade1 { background: var(--hit1); } .confusion .hit.shade2 { background: var(--hit2); }
.confusion .hit.shade3 { background: var(--hit3); } .confusion .hit.shade4 { background: var(--hit4); }
.confusion .hit.shade5 { background: var(--hit5); }
.confusion .miss.shade1 { background: var(--miss1); } .confusion .miss.shade2 { background: var(--miss2); }
.confusion .miss.shade3 { background: var(--miss3); } .confusion .miss.shade4 { background: var(--miss4); }
.confusion .miss.shade5 { background: var(--miss5); }
.confusion .shade0 { color: var(--quiet); }
.facts.confusions { align-items: start; grid-template-columns: repeat(auto-fit, minmax(min(430px, 100%), 1fr)); }
.confusions p { margin: 10px 0 0; font-size: .88rem; }
.facts { display: grid; gap: 14px; grid-template-columns: repeat(auto-fit, minmax(min(270px, 100%), 1fr)); }
.facts dl { margin: 0; display: grid; grid-template-columns: fit-content(45%) minmax(0, 1fr); gap: 3px 14px; font-size: .92rem; }
.facts dt { color: var(--quiet); overflow-wrap: anywhere; }
.facts dd { margin: 0; overflow-wrap: anywhere; }
pre, code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .88rem; }
pre { background: var(--code); border-radius: 8px; padding: 12px; margin: 0; overflow-x: auto; }
.next { list-style: none; margin: 0; padding: 0; display: grid; gap: 12px; grid-template-columns: minmax(0, 1fr); overflow-wrap: anywhere; }
.next .command { display: flex; gap: 8px; align-items: stretch; margin-top: 4px; }
.next pre { flex: 1; min-width: 0; padding: 9px 12px; white-space: pre-wrap; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; width: 100%; }
caption { overflow-wrap: anywhere; text-align: left; font-weight: 600; padding-bottom: 6px; }
th, td { overflow-wrap: anywhere; text-align: left; padding: 5px 16px 5px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { color: var(--quiet); font-weight: 600; }
td.number, th.number { text-align: right; white-space: nowrap; overflow-wrap: normal; }
tr > :last-child { padding-right: 0; }
td.part { padding-left: 14px; }
td { min-width: 4em; }
td:first-child { min-width: 7em; }
tr:last-child > * { border-bottom: 0; }
details { margin-top: 14px; }
summary { cursor: pointer; font-weight: 600; }
details > :not(summary) { margin-top: 12px; }
footer { color: var(--quiet); font-size: .85rem; margin: 40px auto 32px; max-width: 1200px; padding: 0 20px; }
@media (max-width: 560px) {
  main, header.top, footer { padding-left: 14px; padding-right: 14px; }
  header.top { padding-top: 18px; }
  .tiles { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .tile dd { font-size: 1.15rem; }
  th, td { padding-right: 10px; }
  .chart .plot { height: 190px; }
}
@media print {
  .controls, .tools, .next button { display: none; }
  .card { break-inside: avoid; box-shadow: none; }
}
`;
