/**
 * The tokenizer of the embedded default: byte-level BPE of 512 tokens in SmolLM2's form, trained on
 * the questions about drawn shapes and some English, so that each of their words is one token and any
 * text can be encoded.
 *
 * @module
 */
import type { TokenizerFiles } from "./tokenizer_json.ts";
import { byteLevelTokenizer } from "./train_bpe.ts";

/** Merges by rank. Written by `tests/text/embedded_tokenizer_corpus.ts`. */
const MERGES = `
Ġ s,r e,Ġ a,Ġ t,h a,h e,Ġt he,p e,ha pe,Ġs hape,a n,l e,Ġ y,Ġthe re,Ġ i,o u,h i,Ġy ou,e e,l o
t e,Ġs ee,C an,I s,Ġ c,r i,e n,s s,Ġi s,s t,a r,Ġa re,lo r,o lor,t o,Ġc olor,y e,i r,u e,c h
hi ch,p le,W hich,a re,an g,ang le,b l,bl ue,c le,g re,gre en,hi te,ir cle,l lo,llo w,q u,qu are
re d,ri angle,w hite,o ss,p u,pu r,pur ple,r oss,ha t,Ġi t,s e,m e,W hat,N a,Na me,o t,te r,u se
an t,b ot,bot to,botto m,en ter,f t,g h,gh t,i st,ist ant,le ft,ri ght,s te,ss istant,ste m
use r,y stem,Ġshape s,a ssistant,c enter,c ircle,c ross,n o,s quare,s ystem,st ar,t riangle,to p
ye llow,ye s,Ġ o,Ġo f,l l,Ġ m,o w,Ġthe y,he re,Ġa ll,Ġs t,H ow,an y,e llow,Ġ blue,Ġ green,Ġ red
Ġ white,Ġc ircle,Ġm any,Ġs quare,Ġst ar,Ġt riangle,Ġy ellow,W here,Ġ purple,Ġc ross,Ġt hi,Ġ p
Ġi n,Ġthi s,ar t,Ġp art,Ġthe se,C ou,Cou n,Coun t,Ġ w,Ġa n,Ġ b,Ġ f,o r,Ġ n,e r,Ġ ha,Ġan d,m a
Ġ T,Ġb e,Ġo n,Ġw or,d e,l d,n g,Ġt hat,Ġt o,g e,i me,ma ge,n d,o re,s w,sw er,Ġ W,ĠT he,Ġan swer
Ġc an,Ġf or,Ġi mage,Ġn e,Ġn ot,Ġon e,Ġt ime,Ġw a,Ġw hat,Ġw i,b ou,bou t,c t,ct u,ctu re,d o
f ore,h ow,hi ng,i cture,i o,io n,ir st,o ple,ou ld,pe ople,q ue,que st,quest ion,u s,v e,x t
Ġ A,Ġ I,Ġ do,Ġ l,Ġ lo,Ġ people,Ġ question,Ġ us,ĠW h,Ġa bout,Ġa s,Ġa t,Ġbe fore,Ġf irst,Ġha d
Ġha ve,Ġm o,Ġp icture,Ġs a,Ġthe ir,Ġtime s,Ġw e,Ġwa s,Ġwi ll,Ġwor k,H e,He re,P le,Ple a,Plea se
S o,So me,a de,a l,a st,a use,al se,an d,ar n,arn s,b e,b er,c ause,c o,c ri,co nd,cri be,d s
de l,de s,des cribe,e cond
`;

/**
 * The embedded tokenizer's files, for `Tokenizer.fromJson`. A new object each time.
 *
 * @example A question about shapes is a handful of tokens
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { embeddedTokenizerFiles } from "./embedded_tokenizer.ts";
 * import { Tokenizer } from "./tokenizer.ts";
 *
 * const tokenizer = Tokenizer.fromJson(embeddedTokenizerFiles());
 * assertEquals(tokenizer.vocabSize, 512);
 * assertEquals(tokenizer.encode("How many shapes are there?").length, 6);
 * ```
 */
export function embeddedTokenizerFiles(): TokenizerFiles {
  return byteLevelTokenizer(
    MERGES.trim().split(/[,\n]/).map((merge): [string, string] => {
      const [left, right] = merge.split(" ");
      return [left, right];
    }),
  );
}
