/**
 * English contractions as VQA's evaluation restores them: "dont" becomes "don't".
 *
 * A contraction is found by its spelling with exactly one apostrophe left out.
 *
 * @module
 */

const CONTRACTIONS = `
  ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
  haven't he'd he'd've he's how'd how'll how's I'd've I'm I've isn't it'd it'd've it'll ma'am
  mightn't mightn't've might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't
  she'd've should've shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd
  someone'd've someone'll someone's something'd something'd've something'll that's there'd
  there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've we've
  weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's
  who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd
  you'd've you'll you're you've
`.trim().split(/\s+/);

/** Contraction by its misspelling. */
export const CONTRACTION_OF: ReadonlyMap<string, string> = new Map([
  ...CONTRACTIONS.flatMap((contraction) =>
    [...contraction].flatMap((character, i): [string, string][] =>
      character === "'" ? [[contraction.slice(0, i) + contraction.slice(i + 1), contraction]] : []
    )
  ),
  // The reference's table has this entry the wrong way round; leaderboard numbers include it.
  ["somebody'd", "somebodyd"],
]);
