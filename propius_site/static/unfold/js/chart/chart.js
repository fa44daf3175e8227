/* In place of the theme's copy of Chart.js, 69 kB of each page of the console on its first load:
   no page there has a chart of the theme's (an element of class "chart"), which alone would ask. */
