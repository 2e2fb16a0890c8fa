throw new Error('this app is broken')
