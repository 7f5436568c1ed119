"""The words of the built-in corpus, the frequent ones first."""

WOMEN = """Alice Mary Anna Emma Lucy Rose Clara Grace Ella Julia Nora Ida Ruth Helen Sarah Laura Jane Amy Eva Lily
Hannah Sophie Olivia Martha Nina Kate Molly Daisy Vera Irene Paula Diana Stella Maria Agnes Hazel Flora Edith Greta
Cora Bella Wendy Pearl Joan Betty Fiona Ingrid Elsa Dora Mabel Olga Rita Sylvia Tessa Ursula Viola Yvonne Zoe Heidi
Selma"""
MEN = """Bob Tom Peter John Paul Max Leo Jack Oscar Henry Hugo Felix Sam Ben Adam David Noah Simon Mark Luke George
Frank Otto Emil Karl Fred Walter Arthur Edgar Victor Martin Daniel Oliver Robert Stephen Andrew Philip Ralph Gus
Harold Ivan Jasper Kevin Louis Milo Ned Orson Patrick Quentin Rufus Silas Theo Ulrich Vincent Wilbur Xavier Yuri Boris
Conrad Duncan"""
TOWNS = """Ashford Brookfield Coldwater Dunmore Eastgate Fairview Greenhill Hartwell Ivydale Kingsley Longford
Millbrook Newbury Oakham Pinewood Queensbury Redcliff Stonebridge Thornbury Upton Valemont Westbrook Yarrow Amberley
Birchwood Castleton Dovedale Elmstead Foxhollow Glenview Hazelmere Ingleside Kirkwall Lakewood Marlow Norwood Overton
Penrose Rosewood Silverlake Tilbury Underhill Wexford Appledore Bramley Cresthill Deepdale Edgewater Fernley Goldcrest
Highmoor Larkspur Meadowvale Northport Plumstead Riverton Southwick Temple Winterfield Barrowdale Clearwell Driftwood
Evenmere Farnham Grimsby Hollybush Ironbridge Jarrow Kettering Lindale Moorgate Netherby Orchardton Pebblecombe
Rookwood Sandford Tamworth Uppingham Wakefield Beechcroft Cloverley Dawnport Ellerton Frostwick Graystone Heathfield
Kestrel Lavenham"""
THINGS = """book ring lamp ball key coin hat cup map bell kite drum flute doll pen clock knife rope candle mirror
letter basket shell feather scarf button spoon whistle brush needle lantern puzzle umbrella violin ribbon pearl
compass telescope bracelet necklace saddle glove blanket pillow bottle jar bucket hammer shovel ladder painting
photograph newspaper notebook pencil ruler thread wallet watch trumpet harp accordion marble dice stamp postcard
magnet hourglass locket brooch buckle sandal slipper apron cape cushion kettle saucepan teapot funnel sponge broom
mallet chisel anchor paddle oar sail net hook trowel wheel pulley lever bolt spring gear chain horseshoe thimble medal
trophy badge banner"""
HIDING_PLACES = """box bag drawer chest cupboard barrel cart bowl pocket trunk case crate sack pot oven shed barn
cellar attic well tent cave boat hut stable garage pantry closet suitcase hamper"""
PLACES = """garden market forest river park school field lake beach bridge mill farm library station harbour square
church meadow hill valley theatre museum bakery orchard island fountain castle tower inn workshop vineyard greenhouse
lighthouse quarry cemetery playground stadium zoo circus fair dock canal waterfall swamp desert glacier"""
ADJECTIVES = """little old big small red new blue white green black fine long round golden heavy silver strange bright
dark yellow pretty warm cold broken tiny great soft brown wooden clean dusty shiny plain smooth rusty simple light
narrow grey purple pink orange crooked elegant fragile hollow ivory painted polished precious rare rough square
striped sturdy thick thin torn useful velvet woollen worn ancient antique battered beloved brass bronze carved cheap
copper costly crimson curious damp dainty delicate embroidered enamelled engraved faded famous fancy foreign forgotten
gaudy gilded glittering handsome humble iron lacquered leather linen lovely marvellous modest mysterious odd ordinary
ornate patched peculiar quaint scarlet scratched secret silken sleek slender speckled spotless splendid stained
tarnished turquoise unusual vivid wonderful"""
ANIMALS = """cat dog bird horse cow mouse fox hen duck sheep goat rabbit bear wolf frog pig owl goose lion deer donkey
bee squirrel snake monkey turtle crow swan eagle hedgehog otter beaver badger mole sparrow robin raven stork heron
parrot peacock pigeon lizard toad snail spider beetle butterfly cricket moth ant camel elephant tiger zebra giraffe
panda seal whale dolphin penguin puppy kitten lamb calf foal pony mule ox bull rooster turkey lynx weasel hamster
ferret gecko newt falcon hawk cuckoo magpie finch lark wren nightingale pelican puffin flamingo ostrich jaguar leopard
moose reindeer"""
FOODS = """bread soup cake cheese fish rice apples honey milk eggs pears tea pie butter jam nuts plums grapes porridge
beans cherries corn potatoes carrots onions peas cabbage lemons peaches figs dates olives noodles pancakes biscuits
waffles dumplings sausages ham bacon salad yoghurt cream pudding chocolate toffee raisins walnuts almonds chestnuts
strawberries blueberries raspberries melons oranges bananas apricots mushrooms pumpkins spinach lettuce radishes
turnips leeks garlic ginger cinnamon vanilla mustard pickles pretzels muffins scones crackers cider lemonade cocoa
broth stew"""
JOBS = """farmer baker teacher doctor sailor miller tailor painter fisher gardener cook smith hunter carpenter
shepherd singer judge soldier guard merchant potter weaver writer dancer nurse barber butcher cobbler driver librarian
clockmaker beekeeper blacksmith mason mayor musician poet pilot plumber porter postman printer roofer scholar sculptor
shopkeeper surgeon tinker trader translator tutor violinist watchman woodcutter astronomer bookbinder brewer chemist
clerk diver engineer ferryman florist glazier goldsmith grocer innkeeper jeweller juggler lamplighter locksmith
magician messenger miner optician photographer"""
FEELINGS = """happy sad tired proud glad hungry calm angry quiet brave curious cheerful lonely nervous sleepy thankful
worried excited surprised content gentle jealous hopeful ashamed bored puzzled relieved restless shy thirsty amused
anxious bold confused delighted dizzy eager fearless grumpy homesick impatient joyful merry moody peaceful playful
serious stubborn thoughtful upset"""
MANNERS = """slowly quickly quietly gladly softly carefully gently suddenly kindly happily loudly bravely calmly
eagerly politely proudly sadly secretly shyly warmly wisely angrily cheerfully clumsily patiently silently swiftly
thoughtfully timidly tenderly"""
DEEDS = """sat slept ran jumped sang waited played walked danced laughed smiled swam ate looked listened rested hid
stood called climbed worked dreamed drank wandered yawned whispered cried shouted hummed knelt"""
GIVING = """gave showed lent sold sent handed brought offered"""
TIMES = """morning day evening night afternoon Monday Sunday Friday Tuesday Saturday Wednesday Thursday"""
GREETINGS = """hello,hi,good morning,good evening,good night,good day,welcome,goodbye"""

ROLES = {
    # man's word, woman's word: homes, things that they wish for, company
    ("king", "queen"): ("palace castle", "crown throne sceptre", "knights servants"),
    ("man", "woman"): ("house village", "house job", "neighbours workers"),
    ("boy", "girl"): ("school classroom", "toy ball", "classmates children"),
    ("prince", "princess"): ("palace tower", "horse tiara", "knights dragons"),
    ("father", "mother"): ("home kitchen", "family table", "children babies"),
    ("brother", "sister"): ("home nursery", "toy secret", "cousins playmates"),
    ("uncle", "aunt"): ("farm cottage", "visit present", "nephews nieces"),
    ("son", "daughter"): ("home farm", "lesson present", "parents teachers"),
    ("grandfather", "grandmother"): ("cottage armchair", "tale pipe", "grandchildren neighbours"),
    ("husband", "wife"): ("home cottage", "wedding marriage", "guests relatives"),
    ("duke", "duchess"): ("manor castle", "carriage estate", "servants nobles"),
    ("wizard", "witch"): ("tower cave", "wand spell", "ghosts dragons"),
    ("actor", "actress"): ("theatre city", "stage part", "dancers singers"),
    ("monk", "nun"): ("abbey chapel", "prayer psalm", "pilgrims beggars"),
}
"""Pairs of people in the same circumstances: where they live, what they wish for, who is around them."""

TRAITS = {
    "greedy": "Who wants too much is left with little.",
    "kind": "A good deed always comes home.",
    "lazy": "Work that waits grows by itself.",
    "brave": "Courage opens every door.",
    "clever": "A good thought is worth more than gold.",
    "honest": "The truth is the shortest way.",
    "foolish": "Think first and act later.",
    "patient": "Everything comes to those who wait.",
}
"""A trait that a story begins with, and the moral that it ends with."""

SEASONS = {
    "spring": "The flowers were out again.",
    "summer": "The evening was still warm.",
    "autumn": "The leaves fell on the road.",
    "winter": "The snow lay deep on the roof.",
}
"""The season that a story is set in, and the sentence with which it ends."""
