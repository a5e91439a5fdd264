package auth

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// drawnAs has in each line Latin letters and then the letters and digits, of any script, that are
// drawn like them, small or capital. It is the part of the Unicode Consortium's confusables.txt
// (UTS #39, version 13.0.0, © 2020 Unicode, Inc., under the Unicode License) whose prototypes are
// Latin letters without marks, and whose characters RFC 8265 allows in a username. Accented letters
// are missing: skeleton takes their marks away first.
const drawnAs = `
a ɑΑαАаᎪᗅꓮ𐊠𖽀
aa Ꜳꜳ
ae ÆæӔӕ
ao Ꜵꜵ
au Ꜷꜷ
av ꜸꜹꜺꜻ
ay Ꜽꜽ
b ƀƂƃƄɓΒБВЬѢѣҌҍᏏᏴᑲᑳᖯᗷꓐꞴ𐊂𐊡𐌁
c ȼСсҪҫᏟᴄⲤⲥꓚꮯ𐊢𐌂𐐕𐐽𐔜𑣩
d ÐĐđƉƌɖɗԁᎠᏧᑯᗞᗪꓒꓓ
dz ʣ
e ɆɇΕЕеҽҿᎬⴹꓰꬲ𐊆𑢦𑢮
f ƑƒϜքᖴᵮẝꓝꞘꞙꬵ𐊇𐊥𐔥𑢢𑣂
g ƍǤǥɠɡԌցᏀᏳᶃꓖ
h ĦħɦΗНћҢһӇӉհᎻᏂᏲᕼⱧⲎꓧꚕ𐋏
j ɈɉͿϳЈјᎫᒍꓙꞲ
k ƙΚКҚҞᏦᛕⱩⲔꓗꝀ𐔘
l ıŁłƖƗƚǀɨɩɪɫɭΙιІіӀӏ۱ᎥᏞᒪᛁᵻᵼⲒⳐⵏꓡꓲꙇꭵ𐊊𐌉𐐛𐔦𑢣𑢲𑣃𖼖𖼨
ls ʪ
lz ʫ
m ɱΜϺМӍᎷᗰᛖᵯⲘꓟ𐊰𐌑𑜀𑣣
n ƝƞɳΝηոռᵰⲚꓠ𐔓
o ØøƟɵΘΟθοσОоѲѳӨөՕօ۵०০੦૦ଠ୦௦౦೦ഠ൦๐໐တဝ၀ჿዐᎾᏫᴏᴑⲞⲟⴱⵁⵔꓳꝊꝋꬽꬾꭴꮎꮻ𐊒𐊫𐐄𐐬𐓂𐓪𐔖𑓐𑢵𑣈𑣗𑣠
oe Œœ
oo ꚘꚙꝎꝏ
p ƥΡρРрᏢᑭᵽⲢⲣꓑ𐊕
q ʠԛգզⵕ
r ƦɍɼɽгғᎡᏒᖇᴦᵲⲅꓣꭇꭈꮁ𐒴𖼵
s ƽʂЅѕՏᏕᏚᵴꓢꜱꮪ𐊖𐐠𐑈𑣁𖼺
t ŦŧƭƮȾΤТҬᎢᵵⲦꓔ𐊗𐊱𐌕𑢼𖼊
tf ꝷ
ts ʦ
u ɄʋυՍսሀᏌᑌᴜᵾꓴꞟꭎꭒꮜ𐓎𐓶𑢸𑣘𖽂
ue ᵫ
uo ꭣ
v νѴѵ۷Ꮩᐯᴠⴸꓦꛟꮩ𐔝𑜆𑢠𑣀𖼈
w ɯѡѽԜԝաᎳᏔᴡꓪꝡꮃ𑓅𑜊𑜎𑜏𑣦
x ΧХхҲᕁᕽᚷⲬⵝꓫꞳ𐊐𐊴𐌗𐔧
y ƴɎɏɣʏΥγУуҮүҰұყᎩᎽᶌỿⲨꓬꭚ𐊲𑢤𑣜𖽃
z ƵƶȤȥʐΖᏃᴢᵶꓜꮓ𑢩𑣄𑣥
`

// skeletons are the prototypes of drawnAs by character.
var skeletons = parseSkeletons(drawnAs)

func parseSkeletons(rows string) map[rune]string {
	all := map[rune]string{}
	for row := range strings.Lines(rows) {
		latin, others, _ := strings.Cut(strings.TrimSpace(row), " ")
		for _, r := range others {
			all[r] = latin
		}
	}
	return all
}

// alike makes one of the Latin letters and digits that are drawn alike in some typeface. A capital I
// is small by then.
var alike = strings.NewReplacer("i", "l", "1", "l", "0", "o", "rn", "m", "vv", "w")

// skeleton returns what names that look alike have in common, as in UTS #39: letters without marks
// and punctuation, each as the small Latin letter that it is drawn like. It takes more for alike
// than UTS #39 does, such as mall and mail: few names are compared with it.
func skeleton(name string) string {
	var b strings.Builder
	for _, r := range norm.NFD.String(name) {
		if latin, ok := skeletons[r]; ok {
			b.WriteString(latin)
		} else if unicode.IsLetter(r) || unicode.IsDigit(r) {
			b.WriteRune(r)
		}
	}
	return alike.Replace(strings.ToLower(b.String()))
}
